#include "kernels/quantise.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>

#include "kernels/input_codes.h"

namespace seer {
namespace {

// Returns the largest magnitude, or NaN if a value is NaN or infinite.
float largest_magnitude(const float* values, int64_t n) {
  constexpr uint32_t kSign = 0x80000000U, kInfinity = 0x7F800000U;
  uint32_t most = 0;
  for (int64_t i = 0; i < n; ++i) most = std::max(most, std::bit_cast<uint32_t>(values[i]) & ~kSign);
  return most >= kInfinity ? std::numeric_limits<float>::quiet_NaN() : std::bit_cast<float>(most);
}

}  // namespace

void quantise_e4m3(uint8_t* codes, float* scale, const float* values, int64_t d_in) {
  *scale = quantised_scale(largest_magnitude(values, d_in), kLargestE4M3);
  for (int64_t i = 0; i < d_in; ++i) codes[i] = std::isnan(*scale) ? 0 : to_e4m3(values[i] / *scale);
}

void quantise_int4(uint8_t* codes, float* scale, const float* values, int64_t d_in, int64_t group) {
  assert(d_in % group == 0 && group % 2 == 0);
  for (int64_t first = 0; first < d_in; first += group, ++scale) {
    *scale = quantised_scale(largest_magnitude(values + first, group), kInt4Steps);
    const auto code = [&](int64_t i) { return int4_code(values[i], *scale); };
    for (int64_t i = first; i < first + group; i += 2)
      codes[i / 2] = static_cast<uint8_t>(code(i) | code(i + 1) << 4U);
  }
}

}  // namespace seer
