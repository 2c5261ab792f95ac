// The CPU's products with quantised weights for each instruction set, compared with float64.
//
// The bound (kernels/cpu/DESIGN.md, chapter 2): an input may be off by 2^-22 of the largest of the eight that
// share its scale. Their places depend on the instruction set, so the bound takes the largest of the 128
// around it. Each rounding of the sum is off by 2^-24 of the magnitudes added so far.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/kernels/code_weights.h"
#include "tests/kernels/simd_tables.h"
#include "tests/support/catch.h"

namespace seer::testing {
namespace {

using simd::CodeType;

std::vector<float> product(const simd::Functions& simd, const std::vector<float>& x, const CodesCase& c,
                           const CodeWeights& w, std::vector<float> out, int64_t out_stride) {
  const int64_t floats = simd.code_input_floats(w.rows), stride = floats != 0 ? floats : c.d_in;
  std::vector<float> memory(static_cast<size_t>(c.n_x * stride) + 16);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  float* inputs = memory.data() + (64 - address % 64) % 64 / sizeof(float);
  for (int64_t m = 0; m < c.n_x; ++m) {
    if (floats != 0) {
      simd.prepare_code_input(inputs + m * stride, x.data() + m * c.d_in, w.rows);
    } else {
      std::copy_n(x.data() + m * c.d_in, c.d_in, inputs + m * stride);
    }
  }
  simd.dot_code_rows(out.data(), out_stride, inputs, stride, c.n_x, w.rows, c.n_rows, c.accumulate);
  return out;
}

// Returns the error of the worst output, as a part of the bound.
double worst_of(const simd::Functions& simd, const std::vector<float>& x, const CodesCase& c,
                const CodeWeights& w, Random& random) {
  const int64_t out_stride = c.n_rows + 2;
  const std::vector<float> before = random.tensor(DType::kF32, {c.n_x, out_stride}, 1.0F).values;
  const std::vector<float> out = product(simd, x, c, w, before, out_stride);
  double worst = 0.0;
  for (int64_t m = 0; m < c.n_x; ++m) {
    std::vector<double> largest(static_cast<size_t>((c.d_in + 127) / 128));
    for (int64_t i = 0; i < c.d_in; ++i) {
      double& l = largest[static_cast<size_t>(i / 128)];
      l = std::max(l, std::abs(static_cast<double>(x[static_cast<size_t>(m * c.d_in + i)])));
    }
    for (int64_t r = 0; r < out_stride; ++r) {
      const auto at = static_cast<size_t>(m * out_stride + r);
      double sum = r >= c.n_rows || c.accumulate ? before[at] : 0.0, magnitudes = std::abs(sum),
             rounded = 0.0;
      for (int64_t i = 0; i < c.d_in && r < c.n_rows; ++i) {
        const double scale = w.scales[static_cast<size_t>(r * w.n_groups + i / c.group)];
        const double xi = x[static_cast<size_t>(m * c.d_in + i)];
        sum += w.level(r, i) * scale * xi;
        magnitudes += w.size(r, i) * scale * std::abs(xi);
        rounded += w.size(r, i) * scale * largest[static_cast<size_t>(i / 128)];
      }
      // The sums of a lane, then of blocks or vectors, then of lanes.
      const double n_roundings = 12.0 + static_cast<double>(c.d_in) / 4.0;
      const double bound = rounded * 0x1p-22 + magnitudes * n_roundings * 0x1p-24 + 0x1p-100;
      const double error = r < c.n_rows ? std::abs(out[at] - sum) / bound : out[at] == before[at] ? 0.0 : 1e9;
      worst = std::isnan(error) ? INFINITY : std::max(worst, error);
    }
  }
  return worst;
}

void check(Random& random, const CodesCase& c) {
  INFO(name_of(c));
  const CodeWeights w(random, c);
  const std::vector<float> x = random.tensor(DType::kF32, {c.n_x, c.d_in}, 1.0F).values;
  for (const simd::Functions* simd : runnable_tables()) {
    INFO(simd->name);
    CHECK(worst_of(*simd, x, c, w, random) <= 1.0);
  }
}

constexpr CodeType kTypes[] = {CodeType::kE4M3, CodeType::kI8, CodeType::kU4};

TEST_CASE("products with codes are float64's, for rows of any length in groups of any size") {
  Random random(60);
  for (const CodeType type : kTypes)
    for (const bool zeros : {false, true})
      for (const int64_t d_in :
           {2, 6, 30, 32, 34, 64, 66, 96, 126, 128, 130, 192, 254, 256, 258, 320, 384, 640, 1026})
        for (const int64_t group : {8, 16, 20, 32, 48, 64, 128, 256, 2048}) {
          if (group > d_in && group != 2048) continue;
          check(random, {type, d_in, group == 2048 ? d_in : group, 5, 1, zeros});
        }
}

TEST_CASE("products with codes are float64's, for one to four inputs and any number of rows") {
  Random random(61);
  for (const CodeType type : kTypes)
    for (const int64_t n_x : {1, 2, 3, 4})
      for (const int64_t n_rows : {1, 2, 3, 4, 5, 7, 8, 9, 17})
        for (const bool accumulate : {false, true})
          check(random,
                {type, 200, type == CodeType::kU4 ? 40 : 128, n_rows, n_x, n_rows % 2 == 0, accumulate});
}

// If one of the inputs that share a scale is far larger, the others keep few digits; the bound says how many.
TEST_CASE("products with codes stay within the bound when inputs differ by many powers of two") {
  Random random(62);
  for (const CodeType type : kTypes)
    for (const bool zeros : {false, true}) {
      const CodesCase c{type, 512, 128, 6, 2, zeros};
      const CodeWeights w(random, c);
      std::vector<float> x = random.tensor(DType::kF32, {c.n_x, c.d_in}, 1.0F).values;
      for (size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(x[i], static_cast<int>(random.below(60)) - 40);
      x[3] = 1e20F;
      x[300] = 1e-41F;
      for (size_t i = 400; i < 408; ++i) x[i] = 1e-41F;
      for (const simd::Functions* simd : runnable_tables()) {
        INFO(simd->name << ", " << name_of(c));
        CHECK(worst_of(*simd, x, c, w, random) <= 1.0);
      }
    }
}

// The error must be that of float32. Two bfloat16 parts, with one part in 2^18 of the inputs, would give 30
// times as much.
TEST_CASE("products with codes lose no more than float32 sums do") {
  Random random(63);
  for (const CodeType type : kTypes) {
    const CodesCase c{type, 2048, 128, 32, 1};
    const CodeWeights w(random, c);
    const std::vector<float> x = random.tensor(DType::kF32, {c.n_x, c.d_in}, 1.0F).values;
    for (const simd::Functions* simd : runnable_tables()) {
      INFO(simd->name << ", " << name_of(c));
      const std::vector<float> out = product(*simd, x, c, w, std::vector<float>(32), 32);
      double squares = 0.0, errors = 0.0;
      for (int64_t r = 0; r < c.n_rows; ++r) {
        double sum = 0.0;
        for (int64_t i = 0; i < c.d_in; ++i)
          sum += w.level(r, i) * w.scales[static_cast<size_t>(r * w.n_groups + i / c.group)] *
                 x[static_cast<size_t>(i)];
        squares += sum * sum;
        errors += (out[static_cast<size_t>(r)] - sum) * (out[static_cast<size_t>(r)] - sum);
      }
      CHECK(std::sqrt(errors / squares) < 4e-7);
    }
  }
}

TEST_CASE("every code is multiplied as what it stands for") {
  for (const CodeType type : kTypes)
    for (int code = 0; code < 256; ++code) {
      if (type == CodeType::kE4M3 && (code & 0x7F) == 0x7F) continue;
      Random random(64);
      const CodesCase c{type, 2, 2, 1, 1};
      CodeWeights w(random, c);
      std::fill(w.codes.begin(), w.codes.end(), static_cast<uint8_t>(code));
      w.scales[0] = 1.0F;
      for (const simd::Functions* simd : runnable_tables())
        for (const int64_t i : {0, 1}) {
          std::vector<float> x(2);
          x[static_cast<size_t>(i)] = 1.0F;
          INFO(simd->name << ", " << name_of(c) << ", code " << code);
          const double expected = w.level(0, i);
          CHECK(std::abs(product(*simd, x, c, w, {7.0F}, 1)[0] - expected) <= 1.2e-7 * std::abs(expected));
        }
    }
}

TEST_CASE("zeros as inputs give zero, and an input that is no number gives an output that is none") {
  Random random(65);
  for (const CodeType type : kTypes) {
    const CodesCase c{type, 256, 128, 5, 1};
    const CodeWeights w(random, c);
    for (const simd::Functions* simd : runnable_tables()) {
      INFO(simd->name << ", " << name_of(c));
      std::vector<float> x(256);
      for (const float y : product(*simd, x, c, w, std::vector<float>(5, 7.0F), 5)) CHECK(y == 0.0F);
      for (const float special : {kNan, INFINITY, -INFINITY}) {
        x[77] = special;
        for (const float y : product(*simd, x, c, w, std::vector<float>(5, 7.0F), 5))
          CHECK(!std::isfinite(y));
      }
    }
  }
}

}  // namespace
}  // namespace seer::testing
