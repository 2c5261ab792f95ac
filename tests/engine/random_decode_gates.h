// Random gates for decoding for the demo model. The blocks that they choose are not the important ones, but
// the choice depends on every key and every query, as with trained gates.
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
