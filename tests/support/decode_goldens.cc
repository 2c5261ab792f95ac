#include "tests/support/decode_goldens.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/support/safetensors_file.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

DecodeGoldenRule read_rule(const SafetensorsFile& file, const nlohmann::json& described) {
  DecodeGoldenRule r;
  r.name = described.at("name");
  r.rule.method =
      described.at("method") == "threshold" ? DecodeRule::Method::kThreshold : DecodeRule::Method::kBudget;
  r.rule.value = described.at("value");
  r.density = described.at("density");
  r.logits = file.get<float>(r.name + ".logits");
  for (int64_t l = 0; file.has(r.name + ".mask." + std::to_string(l)); ++l) {
    const std::string layer = "." + std::to_string(l);
    r.masks[l] = file.get<uint8_t>(r.name + ".mask" + layer);
    r.scores[l] = file.get<float>(r.name + ".score" + layer);
    r.gate_keys[l] = file.get<float>(r.name + ".gate_key" + layer);
  }
  return r;
}

}  // namespace

std::optional<DecodeGolden> DecodeGolden::read(const std::string& name) {
  const auto dir = test_data("goldens/" + name);
  if (!dir) return std::nullopt;
  DecodeGolden g;
  g.model_dir = (*dir / "model").string();
  g.gates_dir = (*dir / "gates").string();
  const SafetensorsFile file(*dir / "golden.safetensors");
  const auto& about = file.header().at("__metadata__");
  const auto number = [&](const char* key) { return std::stoll(about.at(key).get<std::string>()); };
  g.input_ids = file.get<int32_t>("input_ids");
  g.dense_logits = file.get<float>("logits.dense");
  g.n_prompt = number("prompt_len");
  g.n_steps = number("steps");
  g.block = number("block_size");
  g.n_vocab = file.header().at("logits.dense").at("shape")[1];
  for (const auto& [key, value] : about.items()) {
    const std::string text = value;
    if (text.starts_with('{')) g.rules.push_back(read_rule(file, nlohmann::json::parse(text)));
  }
  const auto& shape = file.header().at(g.rules.at(0).name + ".mask.0").at("shape");
  g.n_kv_heads = shape[1];
  g.n_blocks = shape[2];
  g.n_layers = static_cast<int64_t>(g.rules.front().masks.size());
  return g;
}

int64_t DecodeGolden::count_mask_errors(const DecodeGoldenRule& rule, int64_t layer, int64_t step,
                                        const std::vector<uint8_t>& kept, double tolerance) const {
  const int64_t n = (n_prompt + step + block) / block;  // causal blocks of the step's token
  int64_t errors = 0;
  for (int64_t h = 0; h < n_kv_heads; ++h) {
    const int64_t row = (step * n_kv_heads + h) * n_blocks;
    const float* scores = rule.scores.at(layer).data() + row;
    double edge = rule.rule.value;
    if (rule.rule.method == DecodeRule::Method::kBudget) {
      const int64_t k = rule.rule.n_best(n, block);
      std::vector<float> ordered(scores, scores + n);
      std::sort(ordered.begin(), ordered.end(), std::greater<>());
      edge = k < n ? (ordered[static_cast<size_t>(k - 1)] + ordered[static_cast<size_t>(k)]) / 2.0 : -1.0;
    }
    for (int64_t b = 0; b < n_blocks; ++b) {
      const bool expected = rule.masks.at(layer)[static_cast<size_t>(row + b)] != 0;
      const bool found = kept[static_cast<size_t>(h * n_blocks + b)] != 0;
      errors += expected != found && std::abs(scores[b] - edge) > tolerance;
    }
  }
  return errors;
}

}  // namespace seer::testing
