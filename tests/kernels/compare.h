// Compares the results of an operation with the expected ones.
#pragma once

#include <limits>
#include <string>
#include <vector>

namespace seer::testing {

// Two marks for expected values: memory that must keep its poison, and memory with any content.
inline constexpr double kUntouched = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kAnything = std::numeric_limits<double>::infinity();

struct Tolerance {
  double absolute = 0.0;
  double relative = 0.0;
};

// Returns an empty text if every value lies within absolute + relative * |expected|, else how many do not,
// and the worst.
std::string mismatch(const std::vector<float>& actual, const std::vector<double>& expected,
                     Tolerance tolerance);

// Returns whether all values are equal bit for bit; NaN equals itself.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace seer::testing
