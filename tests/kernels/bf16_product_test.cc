// Products of inputs rounded to bfloat16 with bfloat16 weights and with codes, compared with float64 products
// of the same rounded inputs. So only float32's rounding of sums is left.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/cpu_backend.h"
#include "tests/kernels/code_weights.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/rank_ops.h"
#include "tests/kernels/reference.h"
#include "tests/kernels/run_op.h"
#include "tests/kernels/simd_tables.h"
#include "tests/support/catch.h"
#include "tests/support/narrow_floats.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

constexpr Tolerance kSum{1e-5, 1e-6};
constexpr int64_t kFewRows = 16;  // with up to this many rows, a CPU that rounds inputs does not round them

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

// Checks that every table with such products was tested.
void check_tables(int n_tables) {
#if defined(__x86_64__)
  const bool has = __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512vnni") != 0 &&
                   __builtin_cpu_supports("avx512vbmi") != 0;
  CHECK(n_tables == (has ? 1 : 0));
#else
  CHECK(n_tables == 0);
#endif
}

// Sizes around 2 and 32 inputs, which are packed together, and around the 256 of a strip; and around 6 inputs
// and 64 outputs, the size of a tile.
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
  check_tables(n_tables);
}

// Checks that `simd` takes the codes.
void check_codes(const simd::Functions& simd, Random& random, const CodesCase& c) {
  INFO(simd.name << ", " << name_of(c));
  const CodeWeights w(random, c);
  const int64_t x_stride = c.d_in / 2 * 2 + 4, out_stride = c.n_rows + 3;
  const HostTensor x = random.tensor(DType::kBF16, {c.n_x, c.d_in}, 1.0F);
  std::vector<uint16_t> inputs(static_cast<size_t>(c.n_x * x_stride));
  for (int64_t m = 0; m < c.n_x; ++m)
    for (int64_t i = 0; i < c.d_in; ++i) inputs[static_cast<size_t>(m * x_stride + i)] = to_bf16(x.at(m)[i]);
  std::vector<float> out = random.tensor(DType::kF32, {c.n_x, out_stride}, 1.0F).values;
  const std::vector<float> before = out;
  REQUIRE(simd.takes_bf16(w.rows));
  simd.product_codes_bf16(out.data(), out_stride, inputs.data(), x_stride, c.n_x, w.rows, c.n_rows,
                          c.accumulate);
  double worst = 0.0;
  for (int64_t m = 0; m < c.n_x; ++m)
    for (int64_t r = 0; r < out_stride; ++r) {
      const auto at = static_cast<size_t>(m * out_stride + r);
      double sum = r >= c.n_rows || c.accumulate ? before[at] : 0.0, magnitudes = std::abs(sum);
      for (int64_t i = 0; i < c.d_in && r < c.n_rows; ++i) {
        const double product = w.level(r, i) * w.scales[static_cast<size_t>(r * w.n_groups + i / c.group)] *
                               static_cast<double>(x.at(m)[i]);
        sum += product;
        magnitudes += std::abs(product);
      }
      // Products are exact. Each pair of inputs adds at most two roundings, and each group another two.
      const double bound = magnitudes * static_cast<double>(c.d_in + 2 * w.n_groups + 2) * 0x1p-24;
      const double error = std::abs(out[at] - sum);
      worst = std::max(worst, r < c.n_rows ? error / (bound + 1e-30) : error == 0.0 ? 0.0 : 1e9);
    }
  CHECK(worst <= 1.0);
}

TEST_CASE("product_codes_bf16 is float64's for rows of any length, groups of any size and any zeros") {
  Random random(71);
  int n_tables = 0;
  for (const simd::Functions* simd : runnable_tables()) {
    if (simd->product_codes_bf16 == nullptr) continue;
    ++n_tables;
    for (const simd::CodeType type : {simd::CodeType::kE4M3, simd::CodeType::kI8, simd::CodeType::kU4})
      for (const bool zeros : {false, true}) {
        if (zeros && type != simd::CodeType::kU4) continue;
        for (const int64_t d_in : {1, 2, 15, 30, 32, 34, 66, 128, 130, 255, 256, 258, 384, 514})
          for (const int64_t group : {32, 64, 96, 128, 256, 512, 2048}) {
            if ((type == simd::CodeType::kU4 && d_in % 2 != 0) || (group > d_in && group != 2048)) continue;
            check_codes(*simd, random,
                        {type, d_in, group == 2048 ? d_in : group, 5, 2, zeros, d_in % 4 == 2});
          }
        for (const int64_t n_x : {1, 5, 6, 7, 13})
          for (const int64_t n_rows : {1, 16, 63, 64, 65, 130})
            check_codes(*simd, random, {type, 200, 128, n_rows, n_x, zeros, n_x % 2 == 0});
      }
  }
  check_tables(n_tables);
}

bool has_bf16() { return simd::functions().product_bf16 != nullptr; }

TEST_CASE("codes that bfloat16 does not hold, or whose groups are too small, do not take bf16 inputs") {
  if (!has_bf16()) return testing::skip("the processor has no AVX512-BF16");
  const float scale = 1.0F;
  const uint8_t code = 0;
  for (const simd::Functions* simd : runnable_tables()) {
    if (simd->takes_bf16 == nullptr) continue;
    CHECK_FALSE(simd->takes_bf16({simd::CodeType::kI8, &code, &scale, &code, 128, 128}));
    CHECK_FALSE(simd->takes_bf16({simd::CodeType::kE4M3, &code, &scale, &code, 128, 128}));
    CHECK_FALSE(simd->takes_bf16({simd::CodeType::kU4, &code, &scale, &code, 128, 16}));
    CHECK_FALSE(simd->takes_bf16({simd::CodeType::kU4, &code, &scale, nullptr, 128, 48}));
    CHECK(simd->takes_bf16({simd::CodeType::kU4, &code, &scale, nullptr, 48, 48}));
  }
}

TEST_CASE("a backend with bf16 inputs rounds those of many rows with bf16 weights, and no others") {
  if (!has_bf16()) {
    CHECK_THROWS_WITH(CpuBackend(1, false, true), ContainsSubstring("expected one with AVX512-BF16"));
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
    // The outputs of one part follow those of the part before it.
    const auto d_out = static_cast<size_t>(c.before.dim(1));
    size_t column = 0;
    for (const LinearCase::Part& part : c.parts) {
      const bool rounds = c.x.dim(0) > kFewRows && part.weight.dtype == DType::kBF16;
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

TEST_CASE("a backend with bf16 inputs rounds those of many rows with codes, in each part's order") {
  if (!has_bf16()) {
    CHECK(simd::functions().takes_bf16 == nullptr);
    return;
  }
  constexpr int64_t kIn = 192;
  Random random(72);
  // The last one's groups are too small, so its products round nothing.
  const CodesCase cases[] = {{simd::CodeType::kU4, kIn, 64, 70, 1, true},
                             {simd::CodeType::kU4, kIn, kIn, 300, 1, false},
                             {simd::CodeType::kU4, kIn, 16, 9, 1, true}};
  std::vector<CodeWeights> weights;
  std::vector<int32_t> order(kIn);
  for (int64_t i = 0; i < kIn; ++i) order[static_cast<size_t>(i)] = static_cast<int32_t>(i * 29 % kIn);
  LinearWeights w;
  for (const CodesCase& c : cases) weights.emplace_back(random, c);
  for (CodeWeights& codes : weights) {
    LinearWeights::Part part{};
    const auto n_rows = static_cast<int64_t>(codes.scales.size()) / codes.n_groups;
    part.weight = Tensor(codes.codes.data(), DType::kU4, {n_rows, kIn});
    part.scale = Tensor(codes.scales.data(), DType::kF32, {n_rows, codes.n_groups});
    if (codes.rows.zeros != nullptr)
      part.zero = Tensor(codes.zeros.data(), DType::kU8, {n_rows, codes.n_groups});
    part.group = codes.rows.group;
    if (&codes == &weights[1]) part.input_order = Tensor(order.data(), DType::kI32, {kIn});
    w.parts.push_back(part);
  }
  CpuBackend cpu(2, false, true);
  for (const int64_t n : {kFewRows, kFewRows + 1, int64_t{260}}) {
    std::vector<float> x = random.tensor(DType::kF32, {n, kIn}, 1.0F).values;
    std::vector<float> found(static_cast<size_t>(n * w.d_out()));
    std::vector<double> wanted;
    cpu.linear(Tensor(found.data(), DType::kF32, {n, w.d_out()}), Tensor(x.data(), DType::kF32, {n, kIn}), w,
               false);
    for (int64_t m = 0; m < n; ++m)
      for (size_t p = 0; p < weights.size(); ++p)
        for (int64_t r = 0; r < w.parts[p].weight.dim(0); ++r) {
          double sum = 0.0;
          for (int64_t i = 0; i < kIn; ++i) {
            const float exact =
                x[static_cast<size_t>(m * kIn + (p == 1 ? order[static_cast<size_t>(i)] : i))];
            const double input = n > kFewRows && p != 2 ? from_bf16(to_bf16(exact)) : exact;
            const auto at = static_cast<size_t>(r * weights[p].n_groups + i / weights[p].rows.group);
            sum += input * weights[p].level(r, i) * weights[p].scales[at];
          }
          wanted.push_back(sum);
        }
    INFO(n << " rows");
    CHECK(mismatch(found, wanted, {1e-5, 1e-4}) == "");
  }
}

TEST_CASE("zeros as bf16 inputs give zero, and an input that is no number, or becomes infinite, gives none") {
  if (!has_bf16()) {
    CHECK(simd::functions().product_bf16 == nullptr);
    return;
  }
  Random random(73);
  CpuBackend cpu(1, false, true);
  constexpr int64_t kIn = 64, kRows = kFewRows + 2, kOut = 5;
  const HostTensor values = random.tensor(DType::kBF16, {kOut, kIn}, 1.0F);
  std::vector<uint16_t> stored;
  for (const float v : values.values) stored.push_back(to_bf16(v == 0.0F ? 1.0F : v));
  CodeWeights codes(random, {simd::CodeType::kI8, kIn, kIn, kOut, 1});
  LinearWeights plain, quantised;
  plain.parts.push_back({Tensor(stored.data(), DType::kBF16, {kOut, kIn}), {}});
  LinearWeights::Part part{};
  part.weight = Tensor(codes.codes.data(), DType::kI8, {kOut, kIn});
  part.scale = Tensor(codes.scales.data(), DType::kF32, {kOut, 1});
  part.group = kIn;
  quantised.parts.push_back(part);
  for (const LinearWeights* w : {&plain, &quantised})
    for (const float special : {0.0F, -0.0F, 1e-45F, kNan, INFINITY, -INFINITY, 3.4e38F}) {
      std::vector<float> x(kRows * kIn), y(kRows * kOut, 7.0F);
      x[3 * kIn + 33] = special;
      cpu.linear(Tensor(y.data(), DType::kF32, {kRows, kOut}), Tensor(x.data(), DType::kF32, {kRows, kIn}),
                 *w, false);
      INFO(special);
      for (int64_t i = 0; i < kRows * kOut; ++i) {
        const float found = y[static_cast<size_t>(i)];
        if (i / kOut == 3 && !(std::abs(special) < 1.0F)) {
          CHECK(!std::isfinite(found));
        } else {
          CHECK(found == 0.0F);
        }
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
