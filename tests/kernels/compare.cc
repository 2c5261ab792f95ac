#include "tests/kernels/compare.h"

#include <cmath>
#include <cstring>
#include <sstream>

namespace seer::testing {

std::string mismatch(const std::vector<float>& actual, const std::vector<double>& expected,
                     Tolerance tolerance) {
  std::ostringstream text;
  if (actual.size() != expected.size()) {
    text << actual.size() << " values, expected " << expected.size();
    return text.str();
  }
  size_t n_wrong = 0, worst = 0;
  double worst_excess = -1.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = actual[i], e = expected[i];
    if (e == kAnything || a == e) continue;
    double excess = 0.0;  // how far beyond the tolerance
    if (std::isnan(e) || std::isnan(a)) {
      excess = std::isnan(e) && std::isnan(a) ? 0.0 : INFINITY;
    } else if (std::isinf(e) || std::isinf(a)) {
      excess = INFINITY;
    } else {
      excess = std::abs(a - e) - (tolerance.absolute + tolerance.relative * std::abs(e));
    }
    if (excess <= 0.0) continue;
    ++n_wrong;
    if (excess > worst_excess) {
      worst_excess = excess;
      worst = i;
    }
  }
  if (n_wrong == 0) return "";
  text.precision(9);
  text << n_wrong << " of " << actual.size() << " values are wrong, the worst at " << worst << ": "
       << actual[worst] << ", expected " << expected[worst];
  return text.str();
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace seer::testing
