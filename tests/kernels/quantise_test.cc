// Plain weights rounded to codes, compared with float64 arithmetic written here, and at the edges.
#include "kernels/quantise.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/backend.h"
#include "kernels/input_codes.h"
#include "tests/support/catch.h"
#include "tests/support/narrow_floats.h"

namespace seer {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> normal_values(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

struct Int4Row {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  int code(size_t i) const { return codes[i / 2] >> (i % 2 * 4) & 15; }
};

Int4Row int4(const std::vector<float>& values, int64_t group) {
  Int4Row row;
  row.codes.resize(values.size() / 2);
  row.scales.resize(values.size() / static_cast<size_t>(group));
  quantise_int4(row.codes.data(), row.scales.data(), values.data(), static_cast<int64_t>(values.size()),
                group);
  return row;
}

TEST_CASE("int4 groups are the largest of 128, 64 and 32 that divide the inputs") {
  CHECK(int4_group(4096) == 128);
  CHECK(int4_group(576) == 64);
  CHECK(int4_group(96) == 32);
  CHECK(int4_group(32) == 32);
  CHECK_FALSE(int4_group(48).has_value());
  CHECK_FALSE(int4_group(127).has_value());
}

TEST_CASE("int4 codes are the nearest, and no error is larger than half a step, or the step cut off above") {
  const int64_t group = GENERATE(32, 64, 128);
  const std::vector<float> values = normal_values(512, 7);
  const Int4Row row = int4(values, group);
  for (size_t g = 0; g < row.scales.size(); ++g) {
    const size_t first = g * static_cast<size_t>(group), end = first + static_cast<size_t>(group);
    double largest = 0.0;
    for (size_t i = first; i < end; ++i) largest = std::max(largest, std::fabs(double{values[i]}));
    CHECK(std::fabs(row.scales[g] / (largest / 7.5) - 1.0) < 1e-6);
    const double scale = row.scales[g];
    for (size_t i = first; i < end; ++i) {
      CHECK(std::fabs((row.code(i) - 8) * scale - values[i]) <= scale * (0.5 + 1e-6));
    }
  }
}

TEST_CASE("int4: the largest positive and negative values, and halves, have these codes") {
  std::vector<float> values(32, 0.0F);
  values[0] = 7.5F, values[1] = -7.5F, values[2] = 0.5F, values[3] = 1.5F, values[4] = -0.5F;
  const Int4Row row = int4(values, 32);
  CHECK(row.scales[0] == 1.0F);
  CHECK(row.code(0) == 15);
  CHECK(row.code(1) == 0);
  CHECK(row.code(2) == 8);  // ties go to the even code
  CHECK(row.code(3) == 10);
  CHECK(row.code(4) == 8);
  CHECK(row.code(5) == 8);
}

TEST_CASE("zeros alone stay zeros, with a scale that is no zero") {
  const Int4Row row = int4(std::vector<float>(32, 0.0F), 32);
  CHECK(row.scales[0] == 1.0F);
  for (size_t i = 0; i < 32; ++i) CHECK(row.code(i) == 8);
  const std::vector<float> zeros(16, -0.0F);
  std::vector<uint8_t> codes(16);
  float scale = 0.0F;
  quantise_e4m3(codes.data(), &scale, zeros.data(), 16);
  CHECK(scale == 1.0F);
  for (const uint8_t code : codes) CHECK(from_e4m3(code) == 0.0F);
}

TEST_CASE("a value that is not finite makes its own scale NaN and no other") {
  for (const float bad : {kInf, -kInf, kNan}) {
    INFO(bad);
    std::vector<float> values = normal_values(64, 3);
    values[40] = bad;
    const Int4Row row = int4(values, 32);
    CHECK(std::isfinite(row.scales[0]));
    CHECK(std::isnan(row.scales[1]));
    std::vector<uint8_t> codes(64);
    float scale = 0.0F;
    quantise_e4m3(codes.data(), &scale, values.data(), 64);
    CHECK(std::isnan(scale));
  }
}

TEST_CASE("E4M3 codes have the largest magnitude at 448, and an error of a sixteenth at most") {
  std::vector<float> values = normal_values(256, 11);
  values[17] = -3.0F;
  std::vector<uint8_t> codes(values.size());
  float scale = 0.0F;
  quantise_e4m3(codes.data(), &scale, values.data(), 256);
  CHECK(scale == 3.0F / 448.0F);
  CHECK(from_e4m3(codes[17]) == -448.0F);
  for (size_t i = 0; i < values.size(); ++i) {
    const double error = std::fabs(double{from_e4m3(codes[i])} * scale - values[i]);
    CHECK(error <= std::max(std::fabs(values[i]) / 16.0, scale * 0x1p-10) * (1.0 + 1e-6));
  }
}

TEST_CASE("E4M3: weights whose scale is no normal number keep their signs and order") {
  const std::vector<float> values = {0x1p-130F, -0x1p-131F, 0x1p-133F, 0.0F};
  std::vector<uint8_t> codes(4);
  float scale = 0.0F;
  quantise_e4m3(codes.data(), &scale, values.data(), 4);
  CHECK(scale > 0.0F);
  CHECK(from_e4m3(codes[0]) > from_e4m3(codes[2]));
  CHECK(from_e4m3(codes[2]) > 0.0F);
  CHECK(from_e4m3(codes[1]) < 0.0F);
  CHECK(from_e4m3(codes[3]) == 0.0F);
}

// A product's weights in the backend's memory, as random weights are.
struct OwnWeights {
  std::unique_ptr<Backend> backend = make_cpu_backend(2);
  std::vector<Buffer> buffers;
  LinearWeights plain;

  OwnWeights(int64_t d_out, int64_t d_in) {
    LinearWeights::Part part;
    part.weight = Tensor(nullptr, DType::kBF16, {d_out, d_in});
    buffers.push_back(backend->allocate(part.weight.nbytes(), "test"));
    part.weight.data = buffers.back().get();
    part.bias = Tensor(nullptr, DType::kBF16, {d_out});
    buffers.push_back(backend->allocate(part.bias.nbytes(), "test"));
    part.bias.data = buffers.back().get();
    backend->fill_random(part.weight, 5, 0.0F, 1.0F, {});
    backend->fill_random(part.bias, 6, 0.0F, 1.0F, {});
    plain.parts = {part};
  }
};

TEST_CASE("the CPU backend rounds all rows of a product, keeps its bias and gives the plain matrix back") {
  const WeightFormat format = GENERATE(WeightFormat::kE4M3, WeightFormat::kU4);
  constexpr int64_t kOut = 37, kIn = 192;
  OwnWeights w(kOut, kIn);
  const std::weak_ptr<void> matrix = w.buffers.front();
  std::vector<float> row(kIn);
  std::vector<std::vector<uint8_t>> codes(kOut, std::vector<uint8_t>(kIn));
  std::vector<float> scales(kOut * 3);
  const auto* stored = static_cast<const uint16_t*>(w.plain.parts.front().weight.data);
  const bool e4m3 = format == WeightFormat::kE4M3;
  for (size_t r = 0; r < kOut; ++r) {
    for (size_t i = 0; i < kIn; ++i) row[i] = testing::from_bf16(stored[r * kIn + i]);
    if (e4m3) {
      quantise_e4m3(codes[r].data(), &scales[r], row.data(), kIn);
    } else {
      quantise_int4(codes[r].data(), &scales[r * 3], row.data(), kIn, 64);
    }
  }
  const LinearWeights quantised = w.backend->quantise(w.plain, format, &w.buffers);
  CHECK(matrix.expired());
  const LinearWeights::Part& part = quantised.parts.front();
  CHECK(part.weight.dtype == (e4m3 ? DType::kF8E4M3 : DType::kU4));
  CHECK(part.group == (e4m3 ? kIn : 64));
  CHECK(part.input_codes == (e4m3 ? InputCodes::kE4M3Token : InputCodes::kNone));
  CHECK(part.bias.data == w.plain.parts.front().bias.data);
  const auto row_bytes = static_cast<size_t>(kIn * dtype_bits(part.weight.dtype) / 8);
  for (size_t r = 0; r < kOut; ++r)
    CHECK(std::equal(codes[r].begin(), codes[r].begin() + static_cast<std::ptrdiff_t>(row_bytes),
                     static_cast<const uint8_t*>(part.weight.data) + r * row_bytes));
  for (size_t i = 0; i < static_cast<size_t>(kOut * part.n_groups()); ++i)
    CHECK(part.scale.as<float>()[i] == scales[i]);
}

TEST_CASE("the CPU backend rounds float32 weights to bf16, and leaves bf16 where it is") {
  OwnWeights w(8, 32);
  const LinearWeights same = w.backend->quantise(w.plain, WeightFormat::kBF16, &w.buffers);
  CHECK(same.parts.front().weight.data == w.plain.parts.front().weight.data);
  CHECK(w.buffers.size() == 2);
  std::vector<float> values = normal_values(64, 1);
  values[0] = 1.0F + 0x1p-8F;  // half way to the next bf16, whose last bit is 1
  LinearWeights wide;
  wide.parts = {{Tensor(values.data(), DType::kF32, {2, 32}), {}}};
  const LinearWeights narrow = w.backend->quantise(wide, WeightFormat::kBF16, &w.buffers);
  const Tensor& t = narrow.parts.front().weight;
  REQUIRE(t.dtype == DType::kBF16);
  CHECK(static_cast<const uint16_t*>(t.data)[0] == 0x3F80);
  for (size_t i = 1; i < 64; ++i) {
    const double found = testing::from_bf16(static_cast<const uint16_t*>(t.data)[i]);
    CHECK(std::fabs(found - values[i]) <= std::fabs(values[i]) * 0x1p-8);
  }
}

}  // namespace
}  // namespace seer
