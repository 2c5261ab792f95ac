// Chooses the points of a sweep that are made to fail.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/support/sanitized.h"

namespace seer::testing {

// Returns all n points if SEER_ALL_FAULTS is set, else some `wanted` ones that are spread over them, and the
// first and last few. SEER_FAULT=N selects point N alone.
inline std::vector<int64_t> fault_points(int64_t n, int64_t wanted) {
  if (const char* one = std::getenv("SEER_FAULT")) return {std::stoll(one)};
  if (std::getenv("SEER_ALL_FAULTS") != nullptr) wanted = n;
  if (kSanitized) wanted /= 10;
  const int64_t stride = std::max<int64_t>(1, n / std::max<int64_t>(wanted, 1));
  std::vector<int64_t> all;
  for (int64_t i = 0; i < n; ++i)
    if (i < 8 || i + 8 >= n || i % stride == (i / stride) % stride) all.push_back(i);
  return all;
}

}  // namespace seer::testing
