// Random gates for decoding for the demo model. They choose blocks by nothing that matters, but what they
// choose depends on every key and every query, as with trained gates.
#pragma once

#include <cstdint>
#include <string>

#include "tests/support/test_data.h"

namespace seer::testing {

class RandomDecodeGates {
 public:
  explicit RandomDecodeGates(int64_t block);
  std::string path() const { return dir_.path().string(); }

 private:
  TempDir dir_;
};

}  // namespace seer::testing
