// Random rows of codes for the tests of a CPU's inner loops, with the numbers that they stand for.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "kernels/cpu/simd/simd.h"
#include "tests/kernels/cases.h"

namespace seer::testing {

struct CodesCase {
  simd::CodeType type;
  int64_t d_in, group, n_rows, n_x;
  bool zeros = false;
  bool accumulate = false;
};

inline std::string name_of(const CodesCase& c) {
  const char* types[] = {"E4M3", "I8", "U4"};
  return std::string(types[static_cast<int>(c.type)]) + ", " + std::to_string(c.n_x) + " inputs of " +
         std::to_string(c.d_in) + " in groups of " + std::to_string(c.group) + ", " +
         std::to_string(c.n_rows) + " rows" + (c.zeros ? ", zeros" : "") +
         (c.accumulate ? ", accumulated" : "");
}

inline double e4m3(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

// Codes, scales and zeros of random rows, and the float64 numbers that they stand for.
struct CodeWeights {
  CodeWeights(Random& random, const CodesCase& c)
      : n_groups((c.d_in + c.group - 1) / c.group),
        codes(static_cast<size_t>(c.n_rows * (c.type == simd::CodeType::kU4 ? c.d_in / 2 : c.d_in))) {
    for (uint8_t& code : codes) {
      code = static_cast<uint8_t>(random.below(256));
      if (c.type == simd::CodeType::kE4M3 && (code & 0x7F) == 0x7F) code = 0x80;
    }
    for (int64_t i = 0; i < c.n_rows * n_groups; ++i) {
      scales.push_back(random.uniform(0.5F, 2.0F));
      zeros.push_back(static_cast<uint8_t>(random.below(c.type == simd::CodeType::kU4 ? 17 : 256)));
    }
    rows = {c.type, codes.data(), scales.data(), c.zeros ? zeros.data() : nullptr, c.d_in, c.group};
  }
  // Returns the code of row r and input i minus its zero.
  double level(int64_t r, int64_t i) const {
    const auto at = static_cast<size_t>(r * n_groups + i / rows.group);
    const auto index = static_cast<size_t>(r * rows.d_in + i);
    const double zero = rows.zeros != nullptr ? zeros[at] : 0.0;
    if (rows.type == simd::CodeType::kE4M3) return e4m3(codes[index]) - zero;
    if (rows.type == simd::CodeType::kI8) return static_cast<int8_t>(codes[index]) - zero;
    return (codes[index / 2] >> (index % 2 * 4) & 15) - (rows.zeros != nullptr ? zero : 8.0);
  }
  // Returns the magnitude that rounding errors are relative to: the code, and the zero that is subtracted
  // separately.
  double size(int64_t r, int64_t i) const {
    const double zero = rows.zeros != nullptr ? zeros[static_cast<size_t>(r * n_groups + i / rows.group)] : 0;
    return std::abs(level(r, i)) + 2.0 * zero + (rows.type == simd::CodeType::kU4 ? 8.0 : 0.0);
  }

  int64_t n_groups;
  std::vector<uint8_t> codes, zeros;
  std::vector<float> scales;
  simd::CodeRows rows;
};

}  // namespace seer::testing
