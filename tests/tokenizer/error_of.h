// Turns an error's kind and message into one text, for the tests to compare.
#pragma once

#include <functional>
#include <string>

#include "seer/error.h"

namespace seer::testing {

inline const char* kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return "usage";
    case ErrorKind::kFile:
      return "file";
    case ErrorKind::kUnsupported:
      return "unsupported";
    case ErrorKind::kMemory:
      return "memory";
    case ErrorKind::kDevice:
      return "device";
    case ErrorKind::kCancelled:
      return "cancelled";
    case ErrorKind::kRuntime:
      return "runtime";
  }
  return "?";
}

// Returns "kind: message" of the seer::Error that `body` throws. Any other exception passes through.
inline std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return std::string(kind_name(e.kind())) + ": " + e.what();
  }
  return "nothing was thrown";
}

}  // namespace seer::testing
