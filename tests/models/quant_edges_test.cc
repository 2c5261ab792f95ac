// Layers of 4-bit codes at the edges of their formats, compared with a float64 implementation of the formats'
// descriptions: both versions of GPTQ's zeros, one group for all inputs, a smaller last group, and zeros in
// words that are not full.
#include <cmath>
#include <numeric>

#include "kernels/backend.h"
#include "models/json_util.h"
#include "models/quant/layer.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using Layout = QuantScheme::Layout;

Json gptq(int64_t group, bool ordered, const char* version = nullptr) {
  Json config = {
      {"quant_method", "gptq"}, {"bits", 4}, {"group_size", group}, {"desc_act", ordered}, {"sym", false}};
  if (version != nullptr) config["checkpoint_format"] = version;
  return config;
}
Json awq(int64_t group) {
  return {
      {"quant_method", "awq"}, {"bits", 4}, {"group_size", group}, {"zero_point", true}, {"version", "gemm"}};
}
Json packed(int64_t group, bool symmetric) {
  Json weights = {{"num_bits", 4},
                  {"type", "int"},
                  {"symmetric", symmetric},
                  {"strategy", group < 0 ? "channel" : "group"}};
  if (group >= 0) weights["group_size"] = group;
  return {{"quant_method", "compressed-tensors"},
          {"format", "pack-quantized"},
          {"config_groups",
           {{"group_0", {{"targets", {"Linear"}}, {"weights", weights}, {"input_activations", nullptr}}}}}};
}

// A layer of random codes, zeros and scales, as files have them.
class RandomLayer {
 public:
  RandomLayer(const Json& config, int64_t d_out, int64_t d_in)
      : scheme_(*QuantScheme::read(JsonReader(Json{{"quantization_config", config}}, "config.json"))) {
    layer_.scheme = &scheme_;
    layer_.module = "model.layers.0.mlp.up_proj";
    layer_.source = "folder";
    layer_.d_out = d_out, layer_.d_in = d_in;
    n_groups_ = layer_.n_groups();
    const bool by_outputs = scheme_.layout == Layout::kPacked;
    const int64_t zero_words = by_outputs ? (d_out + 7) / 8 * n_groups_ : n_groups_ * d_out / 8;
    fill(&codes_, d_out * d_in / 8);
    fill(&zeros_, zero_words);
    for (int64_t i = 0; i < d_out * n_groups_; ++i)
      scales_.push_back(0.5F + static_cast<float>(next() >> 8) * 0x1p-24F);
    layer_.codes = Tensor(codes_.data(), DType::kI32, {static_cast<int64_t>(codes_.size())});
    layer_.scales = Tensor(scales_.data(), DType::kF32, {static_cast<int64_t>(scales_.size())});
    if (scheme_.asymmetric) layer_.zeros = Tensor(zeros_.data(), DType::kI32, {zero_words});
  }
  RandomLayer(const RandomLayer&) = delete;
  RandomLayer& operator=(const RandomLayer&) = delete;

  // Gives every group its number of inputs, in an order that is neither the inputs' nor the groups'.
  void order_inputs() {
    for (int64_t i = 0; i < layer_.d_in; ++i)
      groups_.push_back(static_cast<int32_t>(i * 29 % layer_.d_in / layer_.group()));
    layer_.group_of_input = Tensor(groups_.data(), DType::kI32, {layer_.d_in});
  }
  void set_zeros(uint32_t word) { std::fill(zeros_.begin(), zeros_.end(), word); }

  // Returns the weight of output o and input i by the formats' descriptions.
  double weight(int64_t o, int64_t i) const {
    constexpr int kAwqOrder[] = {0, 4, 1, 5, 2, 6, 3, 7};
    const int64_t n = layer_.d_out;
    const int64_t g = groups_.empty() ? i / layer_.group() : groups_[static_cast<size_t>(i)];
    const auto nibble = [](const std::vector<uint32_t>& words, int64_t word, int64_t k) {
      return static_cast<int>(words.at(static_cast<size_t>(word)) >> (4 * k) & 15U);
    };
    int code = 0, zero = 8;
    int64_t scale = g * n + o;
    if (scheme_.layout == Layout::kGptq) {
      code = nibble(codes_, i / 8 * n + o, i % 8);
      zero = nibble(zeros_, g * (n / 8) + o / 8, o % 8) + (scheme_.method == "gptq" ? 1 : 0);
    } else if (scheme_.layout == Layout::kAwq) {
      code = nibble(codes_, i * (n / 8) + o / 8, kAwqOrder[o % 8]);
      zero = nibble(zeros_, g * (n / 8) + o / 8, kAwqOrder[o % 8]);
    } else {
      code = nibble(codes_, o * (layer_.d_in / 8) + i / 8, i % 8);
      if (scheme_.asymmetric) zero = nibble(zeros_, o / 8 * n_groups_ + g, o % 8);
      scale = o * n_groups_ + g;
    }
    return static_cast<double>(code - zero) * static_cast<double>(scales_.at(static_cast<size_t>(scale)));
  }

  const QuantLayer& layer() const { return layer_; }
  LinearWeights::Part part(const MatrixRange& matrix) { return local_part(layer_, matrix, &owners_); }
  LinearWeights::Part whole() { return part({0, layer_.d_out, 0, layer_.d_in}); }

 private:
  uint32_t next() {
    random_ = random_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<uint32_t>(random_ >> 32);
  }
  void fill(std::vector<uint32_t>* words, int64_t n) {
    for (int64_t i = 0; i < n; ++i) words->push_back(next());
  }

  QuantScheme scheme_;
  QuantLayer layer_;
  int64_t n_groups_ = 0;
  uint64_t random_ = 1;
  std::vector<uint32_t> codes_, zeros_;
  std::vector<float> scales_;
  std::vector<int32_t> groups_;
  std::vector<std::shared_ptr<const void>> owners_;
};

// x [n, d_in] times the part's weights.
std::vector<float> product(const LinearWeights::Part& part, std::vector<float> x) {
  const int64_t d_in = part.weight.dim(1), d_out = part.weight.dim(0);
  const auto n = static_cast<int64_t>(x.size()) / d_in;
  std::vector<float> y(static_cast<size_t>(n * d_out));
  make_cpu_backend(1)->linear(Tensor(y.data(), DType::kF32, {n, d_out}),
                              Tensor(x.data(), DType::kF32, {n, d_in}), {{part}}, false);
  return y;
}

// Checks the weights one by one, which must be exact because there is no sum, and a product with every input.
void check_numbers(RandomLayer* made) {
  const int64_t n = made->layer().d_out, k = made->layer().d_in;
  const LinearWeights::Part whole = made->whole();
  std::vector<float> identity(static_cast<size_t>(k * k)), x(static_cast<size_t>(k));
  for (int64_t i = 0; i < k; ++i) {
    identity[static_cast<size_t>(i * k + i)] = 1.0F;
    x[static_cast<size_t>(i)] = static_cast<float>(i * 37 % 64 - 31) / 32.0F;
  }
  const std::vector<float> weights = product(whole, identity), row = product(whole, x);
  int n_wrong = 0;
  double worst = 0.0;
  for (int64_t o = 0; o < n; ++o) {
    double sum = 0.0, size = 0.0;
    for (int64_t i = 0; i < k; ++i) {
      const double w = made->weight(o, i), term = w * static_cast<double>(x[static_cast<size_t>(i)]);
      n_wrong += weights[static_cast<size_t>(i * n + o)] == static_cast<float>(w) ? 0 : 1;
      sum += term;
      size += std::abs(term);
    }
    worst = std::max(worst, std::abs(static_cast<double>(row[static_cast<size_t>(o)]) - sum) / size);
  }
  CHECK(n_wrong == 0);
  CHECK(worst < 1e-6);
}

TEST_CASE("4-bit layers of every layout are the numbers that their words say, to the edges of their groups") {
  const std::tuple<const char*, Json, int64_t, bool> cases[] = {
      {"GPTQ, version 1", gptq(32, false), 24, false},
      {"GPTQ, version 1 by name", gptq(32, false, "gptq"), 24, false},
      {"GPTQ, version 2", gptq(32, false, "gptq_v2"), 24, false},
      {"GPTQ, a last group of 32", gptq(64, false, "gptq_v2"), 24, false},
      {"GPTQ, one group", gptq(-1, false), 24, false},
      {"GPTQ, version 2, one group", gptq(-1, false, "gptq_v2"), 24, false},
      {"GPTQ, ordered inputs", gptq(32, true), 24, true},
      {"GPTQ, version 2, ordered inputs", gptq(32, true, "gptq_v2"), 24, true},
      {"GPTQ, ordered inputs, a last group of 32", gptq(64, true), 24, true},
      {"GPTQ, ordered inputs, one group", gptq(-1, true), 24, true},
      {"AWQ", awq(32), 24, false},
      {"AWQ, one group", awq(-1), 24, false},
      {"packed", packed(32, true), 12, false},
      {"packed with zeros, 12 outputs in words of 8", packed(32, false), 12, false},
      {"packed with zeros, one output", packed(32, false), 1, false},
      {"packed, one group", packed(-1, true), 12, false},
      {"packed with zeros, one group", packed(-1, false), 12, false},
  };
  for (const auto& [name, config, d_out, ordered] : cases) {
    INFO(name);
    RandomLayer made(config, d_out, 96);
    if (ordered) made.order_inputs();
    check_numbers(&made);
  }
}

TEST_CASE(
    "GPTQ's stored zero of 15 is 16 in version 1 and 15 in version 2, and its neighbours are their own") {
  for (const char* version : {"gptq", "gptq_v2"})
    for (const uint32_t word : {0xFFFFFFFFU, 0x0F0F0F0FU, 0xF000000FU}) {
      INFO(version << " " << word);
      RandomLayer made(gptq(32, false, version), 24, 96);
      made.set_zeros(word);
      const LinearWeights::Part part = made.whole();
      REQUIRE(part.zero);
      const int first = static_cast<const uint8_t*>(part.zero.data)[0];
      CHECK(first == (std::string(version) == "gptq" ? 16 : 15));
      check_numbers(&made);
    }
}

TEST_CASE("zeros that are all 8 are dropped, in each format's own words for 8") {
  const std::pair<Json, uint32_t> cases[] = {{gptq(32, false), 0x77777777U},
                                             {gptq(32, false, "gptq_v2"), 0x88888888U},
                                             {awq(32), 0x88888888U},
                                             {packed(32, false), 0x88888888U}};
  for (const auto& [config, word] : cases) {
    INFO(config.dump());
    RandomLayer made(config, 24, 96);
    made.set_zeros(word);
    CHECK_FALSE(made.whole().zero);
    check_numbers(&made);
    made.set_zeros(word + 1);
    CHECK(made.whole().zero);
  }
}

TEST_CASE("a layer with one group for all inputs is cut anywhere between words, and others between groups") {
  RandomLayer one(packed(-1, false), 16, 96);
  const LinearWeights::Part part = one.part({8, 8, 40, 56});
  std::vector<float> identity(56 * 56);
  for (size_t i = 0; i < 56; ++i) identity[i * 57] = 1.0F;
  const std::vector<float> weights = product(part, identity);
  int n_wrong = 0;
  for (int64_t i = 0; i < 56; ++i)
    for (int64_t o = 0; o < 8; ++o)
      n_wrong +=
          weights[static_cast<size_t>(i * 8 + o)] == static_cast<float>(one.weight(8 + o, 40 + i)) ? 0 : 1;
  CHECK(n_wrong == 0);
  const auto refused = [](const Json& config, const MatrixRange& matrix) {
    RandomLayer made(config, 24, 96);
    return testing::refusal(ErrorKind::kUnsupported, [&] { made.part(matrix); });
  };
  CHECK_THAT(refused(packed(-1, false), {0, 24, 44, 52}), ContainsSubstring("a word of eight codes"));
  for (const Json& config : {packed(32, false), gptq(32, false), awq(32)})
    CHECK_THAT(
        refused(config, {0, 24, 48, 48}),
        ContainsSubstring("up_proj: ranks would divide its inputs within a group of 32: expected parts "
                          "of whole groups, found inputs 48 to 96. Use fewer ranks"));
}

}  // namespace
}  // namespace seer
