// Plain weights rounded to narrower types while they are loaded: the formats, and the arithmetic that all
// backends follow to the bit.
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>

#include "kernels/host_device.h"
#include "kernels/tensor.h"

namespace seer {

// The formats to which a backend can bring a plain weight. kE4M3: one scale for each output, the largest
// magnitude divided by 448; products of many rows round their inputs by token (InputCodes::kE4M3Token). kU4:
// codes of 0 to 15 with zero 8, and one scale for a group of inputs. Codes are rounded to nearest, ties to
// even: nothing is calibrated.
enum class WeightFormat : uint8_t { kStored, kBF16, kE4M3, kU4 };

// Returns how many inputs share a scale in kU4: the largest of 128, 64 and 32 that divides d_in, or nothing
// if none does.
constexpr std::optional<int64_t> int4_group(int64_t d_in) {
  for (const int64_t group : {128, 64, 32})
    if (d_in % group == 0) return group;
  return std::nullopt;
}

// The functions below quantise a row of d_in values. A NaN or infinite value makes its scale NaN, so that the
// product is NaN as well. A row or group of zeros has the scale 1.

// codes [d_in], scale [1].
void quantise_e4m3(uint8_t* codes, float* scale, const float* values, int64_t d_in);
// codes [d_in / 2], the first of two in the low bits; scale [d_in / group].
void quantise_int4(uint8_t* codes, float* scale, const float* values, int64_t d_in, int64_t group);

// ---- the arithmetic, which a GPU follows as well ----

inline constexpr float kInt4Steps = 7.5F;  // half of the way from code 0 to code 15

// `largest` is NaN if one of the values is NaN or infinite.
SEER_HOST_DEVICE inline float quantised_scale(float largest, float largest_code) {
  return largest == 0.0F ? 1.0F : largest / largest_code;
}
SEER_HOST_DEVICE inline uint32_t int4_code(float value, float scale) {
  const float code = std::rint(value / scale) + 8.0F;
  return static_cast<uint32_t>(code > 15.0F ? 15.0F : code > 0.0F ? code : 0.0F);  // 0 for NaN
}

}  // namespace seer
