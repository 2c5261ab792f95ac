// The comparison that every other test of kernels relies on.
#include "tests/kernels/compare.h"

#include "tests/kernels/host_tensor.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

TEST_CASE("mismatch counts what is beyond the tolerance and names the worst") {
  CHECK(mismatch({1.0F, 2.0F}, {1.05, 2.0}, {0.06, 0.0}) == "");
  CHECK(mismatch({1.0F, 2.0F}, {1.05, 2.0}, {0.0, 0.06}) == "");
  CHECK_THAT(mismatch({1.0F, 2.0F, 3.0F}, {1.05, 2.0, 5.0}, {0.04, 0.0}),
             ContainsSubstring("2 of 3") && ContainsSubstring("at 2: 3, expected 5"));
  CHECK(mismatch({1.0F}, {1.0, 2.0}, {9.0, 9.0}) == "1 values, expected 2");
}

TEST_CASE("mismatch lets NaN equal nothing but poison, and infinities nothing but themselves") {
  CHECK(mismatch({kNan, kNan}, {kUntouched, kAnything}, {}) == "");
  CHECK(mismatch({kNan}, {1.0}, {9.0, 9.0}) != "");
  CHECK(mismatch({1.0F}, {kUntouched}, {9.0, 9.0}) != "");
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  CHECK(mismatch({kInfinity}, {1.0}, {9.0, 9.0}) != "");
  CHECK(mismatch({-kInfinity}, {-kInfinity}, {9.0, 9.0}) == "");
  CHECK_THAT(mismatch({-kInfinity, 1.0F, kInfinity}, {-kInfinity, -kInfinity, -kInfinity}, {9.0, 9.0}),
             ContainsSubstring("2 of 3") && ContainsSubstring("at 1: 1, expected -inf"));
}

}  // namespace
}  // namespace seer::testing
