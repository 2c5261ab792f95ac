// The tests' own conversions, for values that are known.
#include "tests/support/narrow_floats.h"

#include "tests/support/catch.h"

namespace seer::testing {
namespace {

TEST_CASE("every bfloat16 and half survives a round trip") {
  int wrong = 0;
  for (int i = 0; i < 1 << 16; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const bool nan16 = (bits & 0x7FFF) > 0x7C00, nan_b16 = (bits & 0x7FFF) > 0x7F80;
    if (nan16 ? !std::isnan(from_f16(bits)) : to_f16(from_f16(bits)) != bits) ++wrong;
    if (nan_b16 ? !std::isnan(from_bf16(to_bf16(from_bf16(bits)))) : to_bf16(from_bf16(bits)) != bits)
      ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("conversions round to the nearest, ties to even") {
  CHECK(from_bf16(to_bf16(1.0F + 0x1p-8F)) == 1.0F);
  CHECK(from_bf16(to_bf16(1.0F + 0x3p-8F)) == 1.0F + 0x1p-6F);
  CHECK(from_bf16(to_bf16(1.0F + 0x1.01p-8F)) == 1.0F + 0x1p-7F);
  CHECK(std::isinf(from_bf16(to_bf16(std::numeric_limits<float>::max()))));
  CHECK(from_f16(to_f16(1.0F + 0x1p-11F)) == 1.0F);
  CHECK(from_f16(to_f16(1.0F + 0x3p-11F)) == 1.0F + 0x1p-9F);
  CHECK(from_f16(to_f16(0x1p-25F)) == 0.0F);
  CHECK(from_f16(to_f16(0x1.8p-25F)) == 0x1p-24F);
  CHECK(from_f16(to_f16(65519.0F)) == 65504.0F);
  CHECK(std::isinf(from_f16(to_f16(65520.0F))));
  CHECK(from_f16(0xC000) == -2.0F);
}

}  // namespace
}  // namespace seer::testing
