// Conversions of bfloat16 and half precision that are written independently of the library's: by arithmetic,
// not by its bit tricks.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace seer::testing {

inline float from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Rounds to the nearest, ties to even. NaN stays NaN.
inline uint16_t to_bf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x)) return static_cast<uint16_t>((bits >> 16) | 0x40U);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

inline float from_f16(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1F, mantissa = bits & 0x3FF;
  const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31)
    return sign *
           (mantissa != 0 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity());
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
  return sign * std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
}

// Rounds to the nearest, ties to even. Values from 65520 on become infinity.
inline uint16_t to_f16(float x) {
  const int sign = std::signbit(x) ? 0x8000 : 0;
  const float magnitude = std::abs(x);
  if (std::isnan(x)) return static_cast<uint16_t>(sign | 0x7E00);
  if (magnitude >= 65520.0F) return static_cast<uint16_t>(sign | 0x7C00);
  // The exponent of the leading bit. Subnormals and zero share the lowest one.
  const int exponent = magnitude < 0x1p-14F ? -14 : std::ilogb(magnitude);
  const auto mantissa = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  // A mantissa of 1024 or more raises the exponent.
  return static_cast<uint16_t>(sign | (((exponent + 14) << 10) + mantissa));
}

}  // namespace seer::testing
