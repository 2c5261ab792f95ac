// The best k of a row of scores, as the gates' rules rank them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

namespace seer {

// Writes the ascending numbers of the k largest of n scores to `kept`, k <= n. Of equal scores the earlier
// block comes first, as in a stable sort. NaN, which has no order, counts as the lowest score. `order` is
// scratch for n numbers.
inline void best_blocks(int32_t* kept, int64_t k, int32_t* order, const float* scores, int64_t n) {
  std::iota(order, order + n, 0);
  const auto key = [&](int32_t j) {
    return std::isnan(scores[j]) ? -std::numeric_limits<float>::infinity() : scores[j];
  };
  const auto better = [&](int32_t a, int32_t b) { return key(a) != key(b) ? key(a) > key(b) : a < b; };
  if (k < n) std::nth_element(order, order + k, order + n, better);
  std::copy(order, order + k, kept);
  std::sort(kept, kept + k);
}

}  // namespace seer
