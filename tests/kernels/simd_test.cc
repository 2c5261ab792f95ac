// The CPU's inner loops for each instruction set, compared with float64 or an exact conversion. Lengths
// around a vector's 4, 8 and 16 lanes take every path through a loop and its remainder.
#include <algorithm>
#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "tests/kernels/cases.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/simd_tables.h"
#include "tests/support/catch.h"
#include "tests/support/forced_simd.h"
#include "tests/support/narrow_floats.h"

namespace seer::testing {
namespace {

constexpr int64_t kLengths[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 127};
constexpr Tolerance kElement{1e-7, 1e-6};

std::vector<float> random_values(Random& random, int64_t n, float magnitude) {
  return random.tensor(DType::kF32, {n}, magnitude).values;
}

std::vector<float> widened(const simd::Functions& simd, const std::vector<uint16_t>& in,
                           simd::WeightType type) {
  std::vector<float> out(in.size());
  simd.to_float(out.data(), in.data(), type, static_cast<int64_t>(in.size()));
  return out;
}

TEST_CASE("every half and bfloat16 widens exactly, in vectors and alone") {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  for (const simd::Functions* simd : runnable_tables()) {
    INFO(simd->name);
    for (const auto type : {simd::WeightType::kF16, simd::WeightType::kBF16}) {
      const auto expected = type == simd::WeightType::kF16 ? from_f16 : from_bf16;
      const auto wrong = [&](uint16_t bits, float x) {
        const float e = expected(bits);
        return std::isnan(e) ? !std::isnan(x) : std::bit_cast<uint32_t>(x) != std::bit_cast<uint32_t>(e);
      };
      const std::vector<float> together = widened(*simd, all, type);
      int n_wrong = 0, n_wrong_alone = 0;
      for (size_t i = 0; i < all.size(); ++i) {
        if (wrong(all[i], together[i])) ++n_wrong;
        if (wrong(all[i], widened(*simd, {all[i]}, type)[0])) ++n_wrong_alone;
      }
      CHECK(n_wrong == 0);
      CHECK(n_wrong_alone == 0);
    }
  }
}

TEST_CASE("half subnormals, infinities and NaN widen to what they are") {
  using simd::WeightType;
  for (const simd::Functions* simd : runnable_tables()) {
    INFO(simd->name);
    // The smallest subnormal, the largest, their negatives, both zeros, infinities, NaN.
    const std::vector<uint16_t> in = {0x0001, 0x03FF, 0x8001, 0x0000, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0x7C01};
    for (const size_t repeat : {1, 3}) {  // with 16 lanes the first copy is all remainder
      std::vector<uint16_t> many;
      for (size_t i = 0; i < repeat; ++i) many.insert(many.end(), in.begin(), in.end());
      const std::vector<float> x = widened(*simd, many, WeightType::kF16);
      CHECK(x[0] == 0x1p-24F);
      CHECK(x[1] == 0x3FFp-24F);
      CHECK(x[2] == -0x1p-24F);
      CHECK((x[3] == 0.0F && !std::signbit(x[3])));
      CHECK((x[4] == 0.0F && std::signbit(x[4])));
      CHECK((std::isinf(x[5]) && x[5] > 0.0F));
      CHECK((std::isinf(x[6]) && x[6] < 0.0F));
      CHECK(std::isnan(x[7]));
      CHECK(std::isnan(x[8]));
    }
  }
}

// Every upper half with lower halves on a tie, just below and just above it, and near 0. They include
// subnormals, infinities, NaNs, and floats that overflow to infinity.
TEST_CASE("to_bf16 rounds every float32 near a bfloat16 or a tie to the nearest, ties to even") {
  std::vector<float> in;
  for (uint32_t high = 0; high < (1U << 16); ++high)
    for (const uint32_t low : {0x0000U, 0x0001U, 0x7FFFU, 0x8000U, 0x8001U, 0xFFFFU})
      in.push_back(std::bit_cast<float>(high << 16 | low));
  std::vector<uint16_t> expected;
  for (const float x : in) expected.push_back(to_bf16(x));
  for (const simd::Functions* simd : runnable_tables()) {
    INFO(simd->name);
    std::vector<uint16_t> out(in.size());
    simd->to_bf16(out.data(), in.data(), static_cast<int64_t>(in.size()));
    CHECK(out == expected);
    for (const int64_t n : kLengths) {
      std::vector<uint16_t> few(static_cast<size_t>(n) + 1, 7);
      simd->to_bf16(few.data(), in.data() + 1000, n);
      CHECK(std::equal(few.begin(), few.end() - 1, expected.begin() + 1000));
      CHECK(few.back() == 7);
    }
  }
}

TEST_CASE("to_float copies float32 and stays within its length") {
  Random random(20);
  for (const simd::Functions* simd : runnable_tables())
    for (const int64_t n : kLengths) {
      INFO(simd->name << ", " << n);
      std::vector<float> in = random_values(random, n, 1.0F), out(static_cast<size_t>(n) + 1, 7.0F);
      simd->to_float(out.data(), in.data(), simd::WeightType::kF32, n);
      in.push_back(7.0F);
      CHECK(out == in);
    }
}

TEST_CASE("exp is within 2 units in the last place from -87 to 88") {
  for (const simd::Functions* simd : runnable_tables()) {
    INFO(simd->name);
    std::vector<float> x;
    for (int i = 0; i <= 175 * 512; ++i) x.push_back(-87.0F + static_cast<float>(i) / 512.0F);
    std::vector<float> y = x;
    simd->exp_sum(y.data(), static_cast<int64_t>(y.size()), 0.0F);
    double worst = 0.0, at = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(static_cast<double>(x[i]));
      const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
      const double error = std::abs(y[i] - exact) / ulp;
      if (!(error <= worst)) {
        worst = error;
        at = x[i];
      }
    }
    INFO("worst at " << at);
    CHECK(worst <= 2.0);
  }
}

TEST_CASE("exp is exactly 1 at 0, and exactly 0 below -87") {
  for (const simd::Functions* simd : runnable_tables()) {
    INFO(simd->name);
    const std::vector<float> x = {0.0F, -0.0F, -87.01F, -88.0F, -103.0F, -1e4F, -3e38F, -INFINITY};
    for (const size_t repeat : {1, 4}) {
      std::vector<float> y;
      for (size_t i = 0; i < repeat; ++i) y.insert(y.end(), x.begin(), x.end());
      const float sum = simd->exp_sum(y.data(), static_cast<int64_t>(y.size()), 0.0F);
      CHECK(sum == 2.0F * static_cast<float>(repeat));
      for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == (i % x.size() < 2 ? 1.0F : 0.0F));
    }
  }
}

TEST_CASE("exp of NaN is NaN") {
  for (const simd::Functions* simd : runnable_tables())
    for (const int64_t n : {1, 3, 16, 33}) {
      INFO(simd->name << ", " << n);
      std::vector<float> x(static_cast<size_t>(n), -1.0F);
      x.front() = NAN;
      CHECK(std::isnan(simd->exp_sum(x.data(), n, 0.0F)));
      CHECK(std::isnan(x.front()));
      if (n > 1) CHECK(x.back() == Approx(std::exp(-1.0)));
    }
}

TEST_CASE("exp_sum subtracts the maximum and sums, at any length") {
  Random random(21);
  for (const simd::Functions* simd : runnable_tables())
    for (const int64_t n : kLengths) {
      INFO(simd->name << ", " << n);
      std::vector<float> x = random_values(random, n, 10.0F);
      x.push_back(7.0F);
      std::vector<double> expected;
      double sum = 0.0;
      for (int64_t i = 0; i < n; ++i) {
        expected.push_back(std::exp(static_cast<double>(x[static_cast<size_t>(i)] - 9.5F)));
        sum += expected.back();
      }
      expected.push_back(7.0);
      CHECK(simd->exp_sum(x.data(), n, 9.5F) == Approx(sum).epsilon(1e-6));
      CHECK(mismatch(x, expected, {0.0, 4e-7}) == "");
    }
}

TEST_CASE("silu_mul is the reference's at any length") {
  Random random(22);
  for (const simd::Functions* simd : runnable_tables())
    for (const int64_t n : kLengths) {
      INFO(simd->name << ", " << n);
      std::vector<float> gate = random_values(random, n, 8.0F);
      const std::vector<float> up = random_values(random, n, 2.0F);
      gate.front() = n % 2 == 0 ? -120.0F : 95.0F;  // beyond exp's range on either side
      std::vector<float> out(static_cast<size_t>(n) + 1, 7.0F);
      simd->silu_mul(out.data(), gate.data(), up.data(), n);
      std::vector<double> expected;
      for (size_t i = 0; i < gate.size(); ++i)
        expected.push_back(gate[i] / (1.0 + std::exp(-static_cast<double>(gate[i]))) * up[i]);
      expected.push_back(7.0);
      CHECK(mismatch(out, expected, kElement) == "");
    }
}

TEST_CASE("rms_norm is the reference's at any length") {
  Random random(23);
  for (const simd::Functions* simd : runnable_tables())
    for (const int64_t n : kLengths) {
      INFO(simd->name << ", " << n);
      const std::vector<float> x = random_values(random, n, 3.0F), weight = random_values(random, n, 2.0F);
      std::vector<float> out(static_cast<size_t>(n) + 1, 7.0F);
      simd->rms_norm(out.data(), x.data(), weight.data(), n, 1e-5F);
      double squares = 0.0;
      for (const float v : x) squares += static_cast<double>(v) * v;
      std::vector<double> expected;
      for (size_t i = 0; i < x.size(); ++i)
        expected.push_back(x[i] / std::sqrt(squares / static_cast<double>(n) + 1e-5) * weight[i]);
      expected.push_back(7.0);
      CHECK(mismatch(out, expected, kElement) == "");
    }
}

struct DotCase {
  int64_t n_x, d_in, n_rows;
  DType dtype;
  bool accumulate;
};

void check_dot_rows(const simd::Functions& simd, Random& random, const DotCase& c) {
  const int64_t x_stride = c.d_in + 3, out_stride = c.n_rows + 2;
  const HostTensor x = random.tensor(DType::kF32, {c.n_x, x_stride}, 1.0F);
  const HostTensor w = random.tensor(c.dtype, {c.n_rows, c.d_in}, 1.0F);
  const HostTensor before = random.tensor(DType::kF32, {c.n_x, out_stride}, 1.0F);
  std::vector<float> out = before.values;
  std::vector<double> expected(before.values.begin(), before.values.end());
  for (int64_t m = 0; m < c.n_x; ++m)
    for (int64_t r = 0; r < c.n_rows; ++r) {
      double& e = expected[static_cast<size_t>(m * out_stride + r)];
      if (!c.accumulate) e = 0.0;
      for (int64_t i = 0; i < c.d_in; ++i) e += static_cast<double>(x.at(m)[i]) * w.at(r)[i];
    }
  const simd::WeightType type = c.dtype == DType::kF32   ? simd::WeightType::kF32
                                : c.dtype == DType::kF16 ? simd::WeightType::kF16
                                                         : simd::WeightType::kBF16;
  const std::vector<std::byte> weights = w.encoded();
  simd.dot_rows(out.data(), out_stride, x.values.data(), x_stride, c.n_x, weights.data(), type, c.d_in,
                c.n_rows, c.accumulate);
  INFO(simd.name << ": " << c.n_x << " inputs of " << c.d_in << ", " << w.description());
  CHECK(mismatch(out, expected, {5e-6, 0.0}) == "");
}

TEST_CASE("dot_rows is the reference's for every type, length and number of rows") {
  Random random(24);
  for (const simd::Functions* simd : runnable_tables())
    for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
      for (const int64_t d_in : kLengths)
        for (const int64_t n_x : {1, 2, 3, 4})
          check_dot_rows(*simd, random, {n_x, d_in, 9, dtype, n_x % 2 == 0});
      for (const int64_t n_rows : {1, 3, 4, 5, 7, 8, 17})
        for (const int64_t n_x : {1, 4}) check_dot_rows(*simd, random, {n_x, 40, n_rows, dtype, n_x == 1});
    }
}

TEST_CASE("the best table is chosen, and SEER_SIMD forces a lower one") {
  ForcedSimd forced;
  const std::vector<const simd::Functions*> tables = runnable_tables();
  forced.set(nullptr);
  CHECK(&simd::functions() == tables.back());
  forced.set("baseline");
  CHECK(&simd::functions() == tables.front());
  if (tables.size() > 1) {
    forced.set("avx2");
    CHECK(&simd::functions() == tables[1]);
  }
  if (tables.size() > 2) {
    forced.set("avx512");
    CHECK(&simd::functions() == tables[2]);
  }
}

}  // namespace
}  // namespace seer::testing
