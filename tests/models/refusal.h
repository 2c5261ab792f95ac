// Reads the message with which a file or request is refused.
#pragma once

#include <string>

#include "seer/error.h"
#include "tests/support/catch.h"

namespace seer::testing {

// Returns the message of the seer::Error that `body` throws, and checks its kind. The case fails if nothing
// is thrown; any other exception reaches Catch2, which fails the case too.
template <class Body>
std::string refusal(ErrorKind kind, const Body& body) {
  try {
    body();
  } catch (const Error& e) {
    INFO(e.what());
    CHECK(static_cast<int>(e.kind()) == static_cast<int>(kind));
    return e.what();
  }
  FAIL_CHECK("expected an error, and nothing was thrown");
  return {};
}

}  // namespace seer::testing
