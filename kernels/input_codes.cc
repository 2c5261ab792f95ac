#include "kernels/input_codes.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>

namespace seer {
namespace {

constexpr float kLargestI8 = 127.0F;

float largest_of(const float* x, int64_t n) {
  float largest = 0.0F;
  for (int64_t i = 0; i < n; ++i) largest = std::max(largest, std::fabs(x[i]));
  return largest;
}

void round_e4m3(float* out, const float* x, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) out[i] = from_e4m3(to_e4m3(x[i] / scale)) * scale;
}

void round_i8(float* out, const float* x, int64_t n) {
  const float scale = largest_of(x, n) / kLargestI8;
  for (int64_t i = 0; i < n; ++i)
    out[i] = scale == 0.0F ? 0.0F : std::clamp(std::nearbyint(x[i] / scale), -128.0F, 127.0F) * scale;
}

}  // namespace

uint8_t to_e4m3(float x) {
  const uint8_t sign = std::signbit(x) ? 0x80 : 0;
  if (std::isnan(x)) return sign | 0x7F;
  const float magnitude = std::min(std::fabs(x), kLargestE4M3);
  // Below 2^-6, codes are multiples of 2^-9, which is the last bit of a float between 2^14 and 2^15: the sum
  // rounds to it.
  if (magnitude < 0x1p-6F) return sign | static_cast<uint8_t>(std::bit_cast<uint32_t>(magnitude + 0x1p14F));
  // From there on, a code is a float's exponent and 3 bits of its mantissa. A carry out of the mantissa makes
  // the next exponent's first number.
  constexpr uint32_t kDropped = 20, kExponentOffset = (127 - 7) << 3;
  const auto bits = std::bit_cast<uint32_t>(magnitude);
  const uint32_t rounded = bits + (1U << (kDropped - 1)) - 1 + (bits >> kDropped & 1U);
  return sign | static_cast<uint8_t>((rounded >> kDropped) - kExponentOffset);
}

float from_e4m3(uint8_t code) {
  if ((code & 0x7F) == 0x7F) return std::bit_cast<float>(uint32_t{0x7FC00000});
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                        : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

void round_inputs(float* out, const float* x, int64_t n, InputCodes codes, float input_scale) {
  constexpr int64_t kBlock = 128;
  const auto token_scale = [](const float* from, int64_t count) {
    return std::max(largest_of(from, count) / kLargestE4M3, kLeastE4M3Scale);
  };
  switch (codes) {
    case InputCodes::kE4M3Token:
      return round_e4m3(out, x, n, token_scale(x, n));
    case InputCodes::kE4M3Token128:
      for (int64_t i = 0; i < n; i += kBlock) {
        const int64_t count = std::min(kBlock, n - i);
        round_e4m3(out + i, x + i, count, token_scale(x + i, count));
      }
      return;
    case InputCodes::kE4M3Static:
      return round_e4m3(out, x, n, input_scale);
    case InputCodes::kI8Token:
      return round_i8(out, x, n);
    case InputCodes::kNone:
      break;
  }
  assert(false);
}

}  // namespace seer
