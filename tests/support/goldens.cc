#include "tests/support/goldens.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "tests/support/safetensors_file.h"

namespace seer::testing {
namespace {

namespace fs = std::filesystem;

GoldenRule read_rule(const SafetensorsFile& file, const nlohmann::json& described) {
  GoldenRule r;
  r.name = described.at("name");
  r.rule.method =
      described.at("method") == "threshold" ? SparseRule::Method::kThreshold : SparseRule::Method::kNzRatio;
  r.rule.value = described.at("value");
  r.last_dense = described.value("last_dense", true);
  r.logits = file.get<float>(r.name + ".logits");
  for (int64_t l = 0; file.has(r.name + ".mask." + std::to_string(l)); ++l) {
    r.masks[l] = file.get<uint8_t>(r.name + ".mask." + std::to_string(l));
    r.scores[l] = file.get<float>(r.name + ".score." + std::to_string(l));
  }
  return r;
}

// Links to every file of a model, and its config.json in version 5's spelling.
void respell_model(const fs::path& from, const fs::path& to) {
  for (const fs::directory_entry& file : fs::directory_iterator(from))
    if (file.path().filename() != "config.json")
      fs::create_symlink(fs::absolute(file.path()), to / file.path().filename());
  write_file(to / "config.json", spelled_by_transformers_5(read_file(from / "config.json")));
}

}  // namespace

std::string spelled_by_transformers_5(const std::string& config_json) {
  auto config = nlohmann::json::parse(config_json);
  if (!config.contains("torch_dtype")) throw std::runtime_error("not a config.json of transformers 4");
  config["dtype"] = config.at("torch_dtype");
  auto rope = config.value("rope_scaling", nlohmann::json());
  if (rope.is_null()) rope = {{"rope_type", "default"}};
  if (rope.contains("type")) rope["rope_type"] = rope.at("type");
  rope.erase("type");
  rope["rope_theta"] = config.at("rope_theta");
  const std::set<std::string> with_original = {"llama3", "yarn", "longrope"};
  if (with_original.count(rope.at("rope_type").get<std::string>()) != 0 &&
      !rope.contains("original_max_position_embeddings"))
    rope["original_max_position_embeddings"] = config.at("max_position_embeddings");
  config["rope_parameters"] = rope;
  const std::string family = config.at("model_type");
  if (family == "qwen2" || family == "qwen3") {
    config["layer_types"] =
        std::vector<std::string>(config.at("num_hidden_layers").get<size_t>(), "full_attention");
    config["sliding_window"] = nullptr;  // use_sliding_window is false in every golden
  }
  config["pad_token_id"] = nullptr;
  config["transformers_version"] = "5.24.0";
  for (const char* key : {"torch_dtype", "rope_scaling", "rope_theta"}) config.erase(key);
  return config.dump(2);
}

std::optional<Golden> Golden::read(const std::string& name, ConfigSpelling spelling) {
  const auto dir = test_data("goldens/" + name);
  if (!dir) return std::nullopt;
  Golden g;
  const fs::path home = fs::exists(*dir / "model") ? *dir : demo_model();
  g.model_dir = (home / "model").string();
  g.gates_dir = (home / "gates").string();
  if (spelling == ConfigSpelling::kTransformers5) {
    g.respelled_ = std::make_shared<TempDir>();
    respell_model(g.model_dir, g.respelled_->path());
    g.model_dir = g.respelled_->path().string();
  }
  const SafetensorsFile file(*dir / "golden.safetensors");
  g.input_ids = file.get<int32_t>("input_ids");
  g.dense_logits = file.get<float>("logits.dense");
  g.n_vocab = file.header().at("logits.dense").at("shape")[1];
  for (const auto& [key, value] : file.header().at("__metadata__").items()) {
    const std::string text = value;
    if (text.starts_with('{')) g.rules.push_back(read_rule(file, nlohmann::json::parse(text)));
  }
  g.n_heads = file.header().at(g.rules.at(0).name + ".mask.0").at("shape")[0];
  return g;
}

std::string Golden::gates_with(bool last_dense) const {
  const fs::path from = gates_dir, to = other_gates_->path() / (last_dense ? "dense" : "sparse");
  if (fs::exists(to)) return to.string();
  fs::create_directory(to);
  auto config = nlohmann::json::parse(read_file(from / "config.json"));
  config["seerattn_last_block_dense"] = last_dense;
  write_file(to / "config.json", config.dump());
  for (const char* weights : {"attn_gate_weights.pth", "attn_gate_weights.safetensors"})
    if (fs::exists(from / weights)) fs::copy_file(from / weights, to / weights);
  return to.string();
}

int64_t Golden::count_mask_errors(const GoldenRule& rule, int64_t layer, const std::vector<uint8_t>& mask,
                                  double tolerance) const {
  const std::vector<uint8_t>& expected = rule.masks.at(layer);
  const std::vector<float>& scores = rule.scores.at(layer);
  const auto n = static_cast<int64_t>(
      std::lround(std::sqrt(static_cast<double>(expected.size()) / static_cast<double>(n_heads))));
  if (mask.size() != expected.size()) return -1;
  int64_t errors = 0;
  for (int64_t row = 0; row < n_heads * n; ++row) {
    const int64_t at = row * n, n_causal = row % n + 1;
    // The deciding score: the threshold, or the lowest kept score.
    double edge = rule.rule.value;
    if (rule.rule.method != SparseRule::Method::kThreshold) {
      edge = INFINITY;
      for (int64_t j = 0; j < n_causal; ++j)
        if (expected[static_cast<size_t>(at + j)] != 0)
          edge = std::min<double>(edge, scores[static_cast<size_t>(at + j)]);
    }
    for (int64_t j = 0; j < n; ++j) {
      const auto i = static_cast<size_t>(at + j);
      const bool differs = (mask[i] != 0) != (expected[i] != 0);
      if (differs && (j >= n_causal || std::abs(scores[i] - edge) > tolerance)) ++errors;
    }
  }
  return errors;
}

double Golden::max_score_difference(const GoldenRule& rule, int64_t layer,
                                    const std::vector<float>& scores) const {
  const std::vector<float>& expected = rule.scores.at(layer);
  if (scores.size() != expected.size()) return INFINITY;
  const auto n = static_cast<int64_t>(
      std::lround(std::sqrt(static_cast<double>(expected.size()) / static_cast<double>(n_heads))));
  double worst = 0.0, largest = 1.0;
  for (int64_t row = 0; row < n_heads * n; ++row)
    for (int64_t j = 0; j <= row % n; ++j) {
      const auto i = static_cast<size_t>(row * n + j);
      worst = std::max(worst, std::abs(static_cast<double>(scores[i]) - expected[i]));
      largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    }
  return worst / largest;
}

}  // namespace seer::testing
