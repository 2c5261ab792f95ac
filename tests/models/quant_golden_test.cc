// Checkpoints quantised by compressed-tensors, AutoAWQ and AutoGPTQ (the test data's quant/). Seer's results
// are compared with those of these libraries.
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "kernels/input_codes.h"
#include "models/model.h"
#include "models/quant/layer.h"
#include "models/weight_binder.h"
#include "tests/models/ranked_runner.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::DecoderRunner;
using testing::Logits;
using testing::Part;
using testing::RankedRunner;
using testing::RunnerOptions;

constexpr const char* kAll[] = {"awq-g128",      "ct-w4a16-g128",       "ct-w8a8-int",
                                "fp8-block128",  "fp8-channel-dynamic", "fp8-tensor-static",
                                "gptq-g128-sym", "gptq-actorder-asym"};
constexpr const char* kRoundInputs[] = {"ct-w8a8-int", "fp8-block128", "fp8-channel-dynamic",
                                        "fp8-tensor-static"};
const std::vector<int32_t> kPages = {0, 1, 2, 3};

struct Golden {
  explicit Golden(const std::filesystem::path& folder)
      : dir((folder).string()), outputs(read_safetensors((folder / "golden.safetensors").string())) {}
  template <class T>
  std::vector<T> get(const std::string& name) const {
    const Tensor* t = outputs.find(name);
    REQUIRE(t != nullptr);
    const auto* data = static_cast<const T*>(t->data);
    return {data, data + t->numel()};
  }
  std::vector<int32_t> ids() const { return get<int32_t>("input_ids"); }

  std::string dir;
  TensorMap outputs;
};

std::optional<Golden> golden(const char* name) {
  const auto folder = testing::test_data("quant");
  if (!folder) return std::nullopt;
  return Golden(*folder / name);
}

int64_t argmax(const std::vector<float>& row) {
  return std::max_element(row.begin(), row.end()) - row.begin();
}

// The largest difference at the golden's positions below `end`.
double logit_difference(const Golden& g, const std::string& name, const Logits& logits, int32_t end) {
  const auto positions = g.get<int32_t>("positions");
  const auto expected = g.get<float>(name);
  const size_t n_vocab = logits.front().size();
  double worst = 0.0;
  for (size_t i = 0; i < positions.size() && positions[i] < end; ++i)
    for (size_t v = 0; v < n_vocab; ++v) {
      const double d = std::abs(static_cast<double>(logits[static_cast<size_t>(positions[i])][v]) -
                                static_cast<double>(expected[i * n_vocab + v]));
      worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    }
  return worst;
}

int n_other_choices(const Golden& g, const std::string& name, const Logits& logits) {
  const auto expected = g.get<int32_t>(name);
  int n = 0;
  for (size_t i = 0; i < expected.size(); ++i) n += argmax(logits[i]) == expected[i] ? 0 : 1;
  return n;
}

TEST_CASE(
    "quantised checkpoints give their libraries' logits, in prefill and decode, on one rank and on two") {
  for (const char* name : kAll) {
    const auto g = golden(name);
    if (!g) return;
    INFO(name);
    const std::vector<int32_t> ids = g->ids();
    DecoderRunner one(g->dir);
    const Logits logits = one.step({{ids, 0, kPages}});
    CHECK(logit_difference(*g, "logits.weights", logits, INT32_MAX) < 1e-4);
    CHECK(n_other_choices(*g, "argmax.weights", logits) == 0);
    const Part last{{ids.back()}, static_cast<int64_t>(ids.size()) - 1, kPages};
    CHECK(testing::difference(one.step({}, {last}), Logits{logits.back()}) < 1e-4);
    if (std::string(name) == "gptq-actorder-asym") continue;
    RankedRunner two(g->dir, 2);
    CHECK(testing::difference(two.step({{ids, 0, kPages}}), logits) < 1e-4);
  }
}

TEST_CASE("inputs that are ordered by activation are not divided among ranks") {
  const auto g = golden("gptq-actorder-asym");
  if (!g) return;
  const ModelConfig config = ModelConfig::load(g->dir);
  const auto backend = make_cpu_backend(1);
  CHECK_THROWS_WITH(ModelWeights::load(g->dir, config, Shard(config, 0, 2), backend.get(), {}),
                    ContainsSubstring("o_proj: ranks cannot divide inputs that are ordered by activation"));
}

TEST_CASE("random weights are not made of a quantised config.json") {
  const auto g = golden("awq-g128");
  if (!g) return;
  ModelFiles files;
  files.random_config = g->dir + "/config.json";
  Model model(files);
  CHECK_THROWS_WITH(model.open(make_cpu_backend(1), Shard(model.config()), DType::kF32),
                    ContainsSubstring("expected no quantization_config, found awq"));
}

// Rounding one value the other way changes later tokens. The same sums in float32 and float64 agree in the
// first positions, and differ by 0.1 at the end.
TEST_CASE("with rounded inputs, quantised checkpoints give their libraries' logits") {
  for (const char* name : kRoundInputs) {
    const auto g = golden(name);
    if (!g) return;
    INFO(name);
    RunnerOptions options;
    options.round_inputs = true;
    DecoderRunner runner(g->dir, options);
    const Logits logits = runner.step({{g->ids(), 0, kPages}});
    CHECK(logit_difference(*g, "logits.wa", logits, 64) < 1e-3);
    CHECK(logit_difference(*g, "logits.wa", logits, INT32_MAX) < 0.6);
    CHECK(n_other_choices(*g, "argmax.wa", logits) <= 8);
    CHECK(logit_difference(*g, "logits.weights", logits, INT32_MAX) > 0.01);  // inputs were rounded
  }
}

// Layer 0's down_proj, alone.
struct Layer {
  explicit Layer(const Golden& g) : config(ModelConfig::load(g.dir)), tensors(read_checkpoint(g.dir)) {
    WeightBinder binder(tensors, config);
    for (const WeightSlot& slot : weight_slots(config, Shard(config), false)) {
      if (slot.role != WeightRole::kDown || slot.layer != 0) continue;
      const BoundWeight bound = binder.bind(slot);
      REQUIRE(bound.quant);
      layer = *bound.quant;
    }
  }
  LinearWeights::Part part(const MatrixRange& matrix) { return local_part(layer, matrix, &owners); }
  LinearWeights::Part whole() { return part({0, layer.d_out, 0, layer.d_in}); }

  ModelConfig config;
  TensorMap tensors;
  QuantLayer layer;
  std::vector<std::shared_ptr<const void>> owners;
};

std::vector<float> bf16_values(const Golden& g, const std::string& name) {
  std::vector<float> out;
  for (const uint16_t bits : g.get<uint16_t>(name)) out.push_back(std::bit_cast<float>(uint32_t{bits} << 16));
  return out;
}

std::vector<float> product(const LinearWeights::Part& part, std::vector<float> x, bool round_inputs) {
  const int64_t d_in = part.weight.dim(1), d_out = part.weight.dim(0);
  const auto n = static_cast<int64_t>(x.size()) / d_in;
  std::vector<float> y(static_cast<size_t>(n * d_out));
  make_cpu_backend(2, round_inputs)
      ->linear(Tensor(y.data(), DType::kF32, {n, d_out}), Tensor(x.data(), DType::kF32, {n, d_in}), {{part}},
               false);
  return y;
}

TEST_CASE("a quantised layer's product is its library's, for few rows and for many") {
  for (const char* name : kAll) {
    const auto g = golden(name);
    if (!g) return;
    INFO(name);
    Layer layer(*g);
    const std::vector<float> x = bf16_values(*g, "lin.x"), expected = g->get<float>("lin.y");
    double largest = 0.0;
    for (const float y : expected) largest = std::max(largest, std::abs(static_cast<double>(y)));
    const bool rounds = g->outputs.find("lin.xq") != nullptr;
    std::vector<float> many;
    for (int i = 0; i < 8; ++i) many.insert(many.end(), x.begin(), x.end());
    for (const std::vector<float>& in : {x, many}) {
      const std::vector<float> y = product(layer.whole(), in, rounds);
      double worst = 0.0;
      for (size_t i = 0; i < y.size(); ++i)
        worst = std::max(
            worst, std::abs(static_cast<double>(y[i]) - static_cast<double>(expected[i % expected.size()])));
      CHECK(worst < 2e-6 * largest);
    }
  }
}

TEST_CASE("inputs are rounded to the library's codes and scales") {
  for (const char* name : kRoundInputs) {
    const auto g = golden(name);
    if (!g) return;
    INFO(name);
    Layer layer(*g);
    const LinearWeights::Part part = layer.whole();
    const std::vector<float> x = bf16_values(*g, "lin.x"), scales = g->get<float>("lin.xs");
    const auto codes = g->get<uint8_t>("lin.xq");
    const auto d_in = static_cast<size_t>(part.weight.dim(1));
    const size_t n = x.size() / d_in, n_groups = scales.size() / (scales.size() == 1 ? 1 : n);
    int n_wrong = 0;
    for (size_t r = 0; r < n; ++r) {
      std::vector<float> rounded(d_in);
      round_inputs(rounded.data(), x.data() + r * d_in, static_cast<int64_t>(d_in), part.input_codes,
                   part.input_scale);
      for (size_t i = 0; i < d_in; ++i) {
        const float scale = scales.size() == 1 ? scales[0] : scales[r * n_groups + i * n_groups / d_in];
        const uint8_t code = codes[r * d_in + i];
        const float value = part.input_codes == InputCodes::kI8Token
                                ? static_cast<float>(static_cast<int8_t>(code))
                                : from_e4m3(code);
        n_wrong += rounded[i] == value * scale ? 0 : 1;
      }
    }
    CHECK(n_wrong == 0);
  }
}

TEST_CASE("every part of a quantised layer has the whole layer's codes, scales and zeros") {
  for (const char* name : kAll) {
    const auto g = golden(name);
    if (!g) return;
    INFO(name);
    Layer layer(*g);
    const int64_t n = layer.layer.d_out, k = layer.layer.d_in;
    std::vector<float> identity(static_cast<size_t>(k * k));
    for (int64_t i = 0; i < k; ++i) identity[static_cast<size_t>(i * k + i)] = 1.0F;
    const std::vector<float> whole = product(layer.whole(), identity, false);  // [k, n]
    const std::vector<float> rows = product(layer.part({n / 4, n / 2, 0, k}), identity, false);
    int n_wrong = 0;
    for (int64_t i = 0; i < k; ++i)
      for (int64_t o = 0; o < n / 2; ++o)
        n_wrong +=
            rows[static_cast<size_t>(i * n / 2 + o)] == whole[static_cast<size_t>(i * n + n / 4 + o)] ? 0 : 1;
    CHECK(n_wrong == 0);
    if (layer.whole().input_order) continue;
    std::vector<float> half(static_cast<size_t>(k / 2 * k / 2));
    for (int64_t i = 0; i < k / 2; ++i) half[static_cast<size_t>(i * (k / 2) + i)] = 1.0F;
    const std::vector<float> columns = product(layer.part({0, n, k / 2, k / 2}), half, false);  // [k / 2, n]
    n_wrong = 0;
    for (int64_t i = 0; i < k / 2 * n; ++i)
      n_wrong += columns[static_cast<size_t>(i)] == whole[static_cast<size_t>(k / 2 * n + i)] ? 0 : 1;
    CHECK(n_wrong == 0);
  }
}

// A copy of a golden's checkpoint, whose header or data are changed.
class Edited {
 public:
  Edited(const Golden& g, const std::function<void(nlohmann::json& header, std::string& data)>& edit) {
    std::filesystem::copy_file(std::filesystem::path(g.dir) / "config.json", dir_.path() / "config.json");
    const std::string file = testing::read_file(std::filesystem::path(g.dir) / "model.safetensors");
    uint64_t size = 0;
    std::memcpy(&size, file.data(), sizeof size);
    nlohmann::json header = nlohmann::json::parse(file.substr(8, size));
    std::string data = file.substr(8 + size);
    edit(header, data);
    const std::string text = header.dump();
    size = text.size();
    std::string out(8, '\0');
    std::memcpy(out.data(), &size, sizeof size);
    testing::write_file(dir_.path() / "model.safetensors", out + text + data);
  }
  // Returns the message of its load.
  std::string message(ErrorKind kind = ErrorKind::kFile) const {
    try {
      const ModelConfig config = ModelConfig::load(dir_.path().string());
      const auto backend = make_cpu_backend(1);
      ModelWeights::load(dir_.path().string(), config, backend.get(), {});
    } catch (const Error& error) {
      CHECK(error.kind() == kind);
      return error.what();
    }
    return "not refused";
  }

 private:
  testing::TempDir dir_;
};

const std::string kDown = "model.layers.0.mlp.down_proj.";

// Writes `bytes` over the first bytes of a tensor.
std::function<void(nlohmann::json&, std::string&)> overwritten(const std::string& name,
                                                               const std::string& bytes) {
  return [=](nlohmann::json& header, std::string& data) {
    data.replace(header.at(name).at("data_offsets").at(0).get<size_t>(), bytes.size(), bytes);
  };
}

TEST_CASE(
    "quantised checkpoints with damaged scales, codes or groups are refused by the tensor and the value") {
  const std::string nan_bf16 = "\xC0\x7F", zero = std::string(2, '\0'), minus_bf16 = "\x80\xBF",
                    inf_f16 = std::string("\0\x7C", 2);
  const std::tuple<const char*, std::string, std::string, std::string> cases[] = {
      {"fp8-channel-dynamic", "weight_scale", nan_bf16,
       "down_proj.weight_scale: expected positive numbers, found nan at 0"},
      {"fp8-channel-dynamic", "weight_scale", zero, "expected positive numbers, found 0.0"},
      {"fp8-channel-dynamic", "weight_scale", minus_bf16, "expected positive numbers, found -1.0"},
      {"fp8-channel-dynamic", "weight", "\x7F",
       "down_proj.weight: expected finite numbers, found NaN at [0, 0]"},
      {"fp8-tensor-static", "input_scale", zero, "down_proj.input_scale: expected positive numbers"},
      {"fp8-block128", "weight_scale_inv", std::string(4, '\0'),
       "down_proj.weight_scale_inv: expected positive"},
      {"ct-w8a8-int", "weight_scale", zero, "down_proj.weight_scale: expected positive numbers"},
      {"ct-w4a16-g128", "weight_scale", zero, "down_proj.weight_scale: expected positive numbers"},
      {"ct-w4a16-g128", "weight_shape", "\x07",
       "down_proj.weight_shape: expected 256 and 256, found 263 and 256"},
      {"awq-g128", "scales", inf_f16, "down_proj.scales: expected positive numbers, found inf"},
      {"gptq-g128-sym", "scales", inf_f16, "down_proj.scales: expected positive numbers, found inf"},
      {"gptq-actorder-asym", "g_idx", "\x02", "down_proj.g_idx: expected groups from 0 to 1, found 2 at 0"},
      {"gptq-actorder-asym", "g_idx", "\xFF\xFF\xFF\xFF", "found -1 at 0"},
      {"gptq-actorder-asym", "g_idx", "\x01", "g_idx: expected 128 inputs in group 0, found 127"},
  };
  for (const auto& [name, tensor, bytes, expected] : cases) {
    const auto g = golden(name);
    if (!g) return;
    INFO(name << " " << tensor);
    CHECK_THAT(Edited(*g, overwritten(kDown + tensor, bytes)).message(), ContainsSubstring(expected));
  }
}

TEST_CASE(
    "quantised checkpoints with tensors that are missing, misshapen or needless are refused by their names") {
  const auto g = golden("fp8-channel-dynamic");
  if (!g) return;
  const auto renamed = [&](const std::string& from, const std::string& to) {
    return Edited(*g,
                  [&](nlohmann::json& header, std::string&) {
                    header[to] = header.at(from);
                    header.erase(from);
                  })
        .message();
  };
  CHECK_THAT(renamed(kDown + "weight_scale", kDown + "scale"),
             ContainsSubstring("missing: " + kDown + "weight_scale F32 or BF16 or F16 [256, 1] or [256]") &&
                 ContainsSubstring("unexpected: " + kDown + "scale"));
  CHECK_THAT(renamed(kDown + "weight", kDown + "weights"),
             ContainsSubstring(
                 "the codes of model.layers.0.mlp.down_proj, which quantization_config does not leave"));
  CHECK_THAT(Edited(*g,
                    [&](nlohmann::json& header, std::string&) {
                      header[kDown + "weight_scale"]["shape"] = {1, 256};
                    })
                 .message(),
             ContainsSubstring("misshapen: " + kDown +
                               "weight_scale: expected F32 or BF16 or F16 [256, 1] or [256], "
                               "found BF16 [1, 256]"));
  CHECK_THAT(
      Edited(*g, [&](nlohmann::json& header, std::string&) { header[kDown + "weight"]["dtype"] = "I8"; })
          .message(),
      ContainsSubstring(kDown + "weight: expected F8_E4M3 [256, 256], found I8 [256, 256]"));
}

TEST_CASE("E4M3 codes are the numbers that their bits say, and the nearest one is chosen") {
  for (int code = 0; code < 256; ++code) {
    const auto byte = static_cast<uint8_t>(code);
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    const double magnitude =
        exponent == 0 ? mantissa * std::exp2(-9) : (8 + mantissa) * std::exp2(exponent - 10);
    if ((code & 127) == 127) {
      CHECK(std::isnan(from_e4m3(byte)));
    } else {
      CHECK(static_cast<double>(from_e4m3(byte)) == (code < 128 ? magnitude : -magnitude));
      CHECK(to_e4m3(from_e4m3(byte)) == byte);
    }
  }
  for (int code = 0; code < 0x7E; ++code) {  // ties go to the even code
    const auto low = static_cast<uint8_t>(code), high = static_cast<uint8_t>(code + 1);
    const float middle = (from_e4m3(low) + from_e4m3(high)) / 2.0F;
    CHECK(to_e4m3(middle) == (code % 2 == 0 ? low : high));
    CHECK(to_e4m3(std::nextafter(middle, 0.0F)) == low);
    CHECK(to_e4m3(std::nextafter(middle, 1000.0F)) == high);
    CHECK(to_e4m3(-middle) == ((code % 2 == 0 ? low : high) | 0x80));
  }
  CHECK(to_e4m3(1e9F) == 0x7E);
  CHECK(to_e4m3(-INFINITY) == 0xFE);
  CHECK((to_e4m3(NAN) & 0x7F) == 0x7F);
}

}  // namespace
}  // namespace seer
