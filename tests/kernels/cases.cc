#include "tests/kernels/cases.h"

#include <cmath>
#include <numeric>
#include <utility>

namespace seer::testing {

uint64_t Random::next() {
  state_ += 0x9E3779B97F4A7C15U;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

float Random::uniform(float low, float high) {
  return low + (high - low) * static_cast<float>(next() >> 40) * 0x1p-24F;
}

int64_t Random::below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }

HostTensor Random::tensor(DType dtype, std::vector<int64_t> shape, float magnitude) {
  HostTensor t = HostTensor::filled(dtype, shape, 0.0F);
  for (float& x : t.values) x = uniform(-magnitude, magnitude);
  return {dtype, std::move(shape), std::move(t.values)};
}

std::vector<int32_t> Random::permutation(int64_t n) {
  std::vector<int32_t> p(static_cast<size_t>(n));
  std::iota(p.begin(), p.end(), 0);
  for (int64_t i = n - 1; i > 0; --i)
    std::swap(p[static_cast<size_t>(i)], p[static_cast<size_t>(below(i + 1))]);
  return p;
}

namespace {

constexpr DType kStored[] = {DType::kF32, DType::kF16, DType::kBF16};

std::string rows_name(int64_t n, int64_t width) {
  return std::to_string(n) + " rows of " + std::to_string(width);
}

LinearCase linear_case(Random& random, DType activation, int64_t n, int64_t d_in,
                       const std::vector<int64_t>& d_outs, const std::vector<DType>& types, bool bias,
                       bool accumulate, DType out_type) {
  LinearCase c;
  c.name = rows_name(n, d_in) + (bias ? ", bias" : "") + (accumulate ? ", accumulated" : "");
  c.x = random.tensor(activation, {n, d_in}, 1.0F);
  int64_t d_out = 0;
  for (size_t i = 0; i < d_outs.size(); ++i) {
    const DType type = types[i % types.size()];
    LinearCase::Part part;
    part.weight = random.tensor(type, {d_outs[i], d_in}, 2.0F / std::sqrt(static_cast<float>(d_in)));
    if (bias && i % 3 != 1)
      part.bias = random.tensor(type, {d_outs[i]}, 1.0F);  // one of three parts has none
    c.name += ", " + part.weight.description();
    c.parts.push_back(std::move(part));
    d_out += d_outs[i];
  }
  c.accumulate = accumulate;
  c.before =
      accumulate ? random.tensor(out_type, {n, d_out}, 1.0F) : HostTensor::filled(out_type, {n, d_out}, kNan);
  return c;
}

}  // namespace

std::vector<EmbedCase> embed_cases() {
  Random random(1);
  std::vector<EmbedCase> cases;
  for (const DType type : kStored)
    for (const auto& [n, d_model] : {std::pair<int64_t, int64_t>{1, 64}, {63, 100}, {65, 7}}) {
      EmbedCase c{
          rows_name(n, d_model) + " of " + dtype_name(type), random.tensor(type, {50, d_model}, 3.0F), {}};
      for (int64_t i = 0; i < n; ++i) c.ids.push_back(static_cast<int32_t>(random.below(50)));
      c.ids.front() = 49;
      c.ids.back() = n == 1 ? 49 : 0;
      cases.push_back(std::move(c));
    }
  return cases;
}

std::vector<RmsNormCase> rms_norm_cases(DType activation) {
  Random random(2);
  std::vector<RmsNormCase> cases;
  for (const DType type : kStored)
    for (const int64_t d_model : {1, 8, 63, 64, 65, 288, 1000})
      for (const int64_t n : {1, 33})
        cases.push_back({rows_name(n, d_model) + " by " + dtype_name(type),
                         random.tensor(activation, {n, d_model}, 4.0F), random.tensor(type, {d_model}, 2.0F),
                         1e-5});
  // Here eps decides. A norm that leaves it out, or adds it to the root, is far off.
  cases.push_back({"tiny values", random.tensor(activation, {3, 64}, 1e-3F),
                   random.tensor(DType::kF32, {64}, 2.0F), 1e-5});
  cases.push_back(
      {"zeros", HostTensor::filled(activation, {2, 64}, 0.0F), random.tensor(DType::kF32, {64}, 2.0F), 1e-6});
  return cases;
}

std::vector<LinearCase> linear_cases(DType activation) {
  Random random(3);
  std::vector<LinearCase> cases;
  const auto add = [&](int64_t n, int64_t d_in, const std::vector<int64_t>& d_outs,
                       const std::vector<DType>& types, bool bias, bool accumulate, DType out_type) {
    cases.push_back(linear_case(random, activation, n, d_in, d_outs, types, bias, accumulate, out_type));
  };
  // Around 16 or 32 rows the CPU changes its method; decode steps have 1 to 4.
  for (const DType type : kStored) {
    for (const int64_t n : {1, 2, 3, 4, 5, 15, 16, 17, 32, 33, 64, 65}) {
      add(n, 64, {64}, {type}, false, false, activation);
      add(n, 96, {32, 8, 8}, {type}, true, false, activation);  // q, k and v
      add(n, 100, {65}, {type}, n % 2 == 0, true, activation);
    }
    add(1, 7, {1}, {type}, true, false, activation);
    add(17, 7, {1}, {type}, true, false, activation);
  }
  // Widths whose last part is not a whole stage of the GPU's rings (1024 values). 3584 is Qwen2.5-7B's, 896
  // that of the 0.5B model.
  for (const int64_t d_in : {256, 512, 768, 896, 1024, 1280, 1288, 1800, 2304, 3584, 4864, 18944})
    for (const int64_t n : {1, 2}) add(n, d_in, {24}, {DType::kBF16}, d_in % 512 == 0, n == 2, activation);
  const std::vector<DType> mixed(std::begin(kStored), std::end(kStored));
  for (const int64_t n : {3, 31}) add(n, 128, {257, 9, 255}, mixed, true, true, activation);
  add(257, 40, {256, 257}, {DType::kBF16}, false, false, activation);  // gate and up
  add(513, 33, {20}, {DType::kF16}, true, true, activation);
  add(5, 64, {1030}, {DType::kBF16}, false, false, DType::kF32);  // logits are float32 everywhere
  add(20, 64, {300}, {DType::kBF16}, false, false, DType::kF32);
  return cases;
}

std::vector<SiluMulCase> silu_mul_cases(DType activation) {
  Random random(4);
  std::vector<SiluMulCase> cases;
  for (const int64_t d_ff : {1, 15, 64, 65, 384})
    for (const int64_t n : {1, 33})
      cases.push_back({rows_name(n, d_ff), random.tensor(activation, {n, 2 * d_ff}, 6.0F)});
  cases.push_back({"far from zero", random.tensor(activation, {2, 2 * 64}, 300.0F)});
  return cases;
}

std::vector<GatherRowsCase> gather_rows_cases(DType activation) {
  Random random(5);
  return {{"one row", random.tensor(activation, {1, 64}, 1.0F), {0}},
          {"repeated and out of order", random.tensor(activation, {65, 100}, 1.0F), {64, 0, 64, 3, 2, 2}},
          {"no rows", random.tensor(activation, {3, 8}, 1.0F), {}}};
}

std::vector<RopeTableCase> rope_table_cases() {
  const auto frequencies = [](int64_t half, double base) {
    std::vector<double> f;
    for (int64_t i = 0; i < half; ++i)
      f.push_back(std::pow(base, -static_cast<double>(i) / static_cast<double>(half)));
    return f;
  };
  return {{"from the start", 65, 0, 1, frequencies(32, 1e4), 1.0},
          {"one row of one frequency", 1, 5, 1, {1.0}, 1.0},
          {"far positions, scaled", 33, 131000, 1, frequencies(64, 5e5), 1.3},
          {"blocks", 40, 64 * 2000, 64, frequencies(48, 1e4), 1.0}};
}

}  // namespace seer::testing
