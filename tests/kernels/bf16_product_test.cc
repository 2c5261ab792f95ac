// Products of inputs that are rounded to bfloat16 with bfloat16 weights, against float64 products of the same
// rounded inputs, so that what is left is float32's rounding of sums.
#include <cmath>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/rank_ops.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/kernels/simd_tables.h"
#include "tests/support/catch.h"
#include "tests/support/narrow_floats.h"

namespace seer::testing {
namespace {

constexpr Tolerance kSum{1e-5, 1e-6};

void check_product(const simd::Functions& simd, Random& random, int64_t n_x, int64_t d_in, int64_t n_rows,
                   bool accumulate) {
  const int64_t x_stride = d_in / 2 * 2 + 4, out_stride = n_rows + 3;
  const HostTensor x = random.tensor(DType::kBF16, {n_x, d_in}, 1.0F),
                   w = random.tensor(DType::kBF16, {n_rows, d_in}, 1.0F);
  std::vector<uint16_t> inputs(static_cast<size_t>(n_x * x_stride)), weights;
  for (int64_t m = 0; m < n_x; ++m)
    for (int64_t i = 0; i < d_in; ++i) inputs[static_cast<size_t>(m * x_stride + i)] = to_bf16(x.at(m)[i]);
  for (const float value : w.values) weights.push_back(to_bf16(value));
  std::vector<float> out = random.tensor(DType::kF32, {n_x, out_stride}, 1.0F).values;
  std::vector<double> expected(out.begin(), out.end());
  for (int64_t m = 0; m < n_x; ++m)
    for (int64_t r = 0; r < n_rows; ++r) {
      double& e = expected[static_cast<size_t>(m * out_stride + r)];
      if (!accumulate) e = 0.0;
      for (int64_t i = 0; i < d_in; ++i) e += static_cast<double>(x.at(m)[i]) * w.at(r)[i];
    }
  simd.product_bf16(out.data(), out_stride, inputs.data(), x_stride, n_x, weights.data(), d_in, n_rows,
                    accumulate);
  INFO(simd.name << ": " << n_x << " inputs of " << d_in << ", " << n_rows << " rows");
  CHECK(mismatch(out, expected, kSum) == "");
}

// Around 2 and 32 inputs, which are packed together, and the 256 of a strip; around 6 inputs and 64 outputs,
// which a tile has.
TEST_CASE("product_bf16 is float64's for inputs and outputs that end anywhere in a tile") {
  Random random(70);
  int n_tables = 0;
  for (const simd::Functions* simd : runnable_tables()) {
    if (simd->product_bf16 == nullptr) continue;
    ++n_tables;
    for (const int64_t d_in : {1, 2, 3, 31, 32, 33, 64, 100, 255, 256, 257, 258, 289, 513})
      check_product(*simd, random, 7, d_in, 65, d_in % 2 == 0);
    for (const int64_t n_x : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13})
      for (const int64_t n_rows : {1, 15, 16, 17, 63, 64, 65, 130})
        check_product(*simd, random, n_x, 40, n_rows, n_x % 2 == 0);
  }
#if defined(__x86_64__)
  CHECK(n_tables == (__builtin_cpu_supports("avx512bf16") != 0 ? 1 : 0));
#else
  CHECK(n_tables == 0);
#endif
}

bool has_bf16() { return simd::functions().product_bf16 != nullptr; }

TEST_CASE("a backend with bf16 inputs rounds those of many rows with bf16 weights, and no others") {
  if (!has_bf16()) {
    CHECK_THROWS_WITH(CpuBackend(1, false, true), ContainsSubstring("expected a processor with AVX512-BF16"));
    return;
  }
  CpuBackend cpu(2, false, true);
  CHECK_THAT(cpu.description(), ContainsSubstring(", bf16 inputs)"));
  for (LinearCase c : linear_cases(DType::kF32)) {
    INFO(c.name);
    LinearCase rounded = c;
    for (float& x : rounded.x.values) x = from_bf16(to_bf16(x));
    const std::vector<double> exact = reference::linear(c), expected = reference::linear(rounded);
    const std::vector<float> out = run_linear(cpu, c);
    // Outputs lie part beside part.
    const auto d_out = static_cast<size_t>(c.before.dim(1));
    size_t column = 0;
    for (const LinearCase::Part& part : c.parts) {
      const bool rounds = c.x.dim(0) > 16 && part.weight.dtype == DType::kBF16;
      const auto n = static_cast<size_t>(part.weight.dim(0));
      std::vector<float> found;
      std::vector<double> wanted;
      for (size_t m = 0; m < static_cast<size_t>(c.x.dim(0)); ++m)
        for (size_t j = column; j < column + n; ++j) {
          found.push_back(out[m * d_out + j]);
          wanted.push_back((rounds ? expected : exact)[m * d_out + j]);
        }
      CHECK(mismatch(found, wanted, kSum) == "");
      column += n;
    }
  }
}

TEST_CASE("products of bf16 inputs do not depend on the number of threads") {
  if (!has_bf16()) {
    CHECK(simd::functions().product_bf16 == nullptr);
    return;
  }
  CpuBackend one(1, false, true), three(3, false, true);
  for (const LinearCase& c : linear_cases(DType::kF32)) {
    INFO(c.name);
    CHECK(same_bits(run_linear(one, c), run_linear(three, c)));
  }
}

}  // namespace
}  // namespace seer::testing
