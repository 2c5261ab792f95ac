// What an operation wrote against what it should have.
#pragma once

#include <limits>
#include <string>
#include <vector>

namespace seer::testing {

// In expected values: memory that has to keep its poison, and memory an operation may leave as it likes.
inline constexpr double kUntouched = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kAnything = std::numeric_limits<double>::infinity();

struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

// Empty where every value lies within absolute + relative * |expected|; else how many do not, and the worst.
std::string mismatch(const std::vector<float>& actual, const std::vector<double>& expected,
                     Tolerance tolerance);

// Bit for bit, NaN equal to itself.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace seer::testing
