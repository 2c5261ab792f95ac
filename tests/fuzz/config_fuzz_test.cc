// Damaged configs: what is accepted has sizes the rest of the library can calculate with.
#include <cmath>

#include "models/config.h"
#include "models/family.h"
#include "models/gate_weights.h"
#include "models/generation_config.h"
#include "models/rope.h"
#include "models/weights.h"
#include "tests/fuzz/mutate.h"
#include "tests/models/tiny_model.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using nlohmann::json;
using testing::fuzz;
using testing::FuzzResult;
using testing::Mutator;
using testing::replace_file;
using testing::TempDir;
using testing::TinyGates;
using testing::TinyModel;

constexpr int kMutants = 6000;

void check_both(const FuzzResult& result, int n) {
  CHECK(result.n_loaded + result.n_refused == n);
  CHECK(result.n_loaded > n / 200);
  CHECK(result.n_refused > n / 4);
}

// Models of every rope type, and of every family with a window.
std::vector<std::string> configs(const TinyModel& model) {
  json config = model.config();
  config["eos_token_id"] = {2, 3};
  std::vector<std::string> out = {config.dump()};
  for (const char* type : {"default", "linear", "dynamic", "yarn", "llama3"}) {
    config[out.size() % 2 == 0 ? "rope_scaling" : "rope_parameters"] = {
        {"rope_type", type},
        {"factor", 8.0},
        {"low_freq_factor", 1.0},
        {"high_freq_factor", 4.0},
        {"original_max_position_embeddings", 64},
        {"mscale", 0.7},
        {"mscale_all_dim", 1.0},
        {"truncate", false}};
    out.push_back(config.dump());
    config.erase("rope_scaling");
    config.erase("rope_parameters");
  }
  config["sliding_window"] = 64;
  config["use_sliding_window"] = true;
  config["layer_types"] = {"full_attention", "sliding_attention"};
  for (const Family* family : families()) {
    config["architectures"] = {family->architectures.front()};
    config["model_type"] = family->model_type;
    out.push_back(config.dump());
  }
  return out;
}

TEST_CASE("mutants of config.json") {
  const TinyModel model;
  int n_inconsistent = 0;
  const FuzzResult result = fuzz(Mutator(21, configs(model)), kMutants, [&](const std::string& text) {
    const ModelConfig c = ModelConfig::parse(text, "config.json");
    const RopeFrequencies f = rope_frequencies(c.rope, c.d_head, 4096);
    if (c.n_layers < 1 || c.n_heads < 1 || c.n_kv_heads < 1 || c.n_heads % c.n_kv_heads != 0 ||
        c.d_head < 2 || c.d_head % 2 != 0 || c.d_model < 1 || c.d_ff < 1 || c.n_vocab < 1 ||
        c.max_positions < 1 || c.window.value_or(1) < 1 || !std::isfinite(c.rms_norm_eps) ||
        !std::isfinite(f.attention_scaling) || static_cast<int64_t>(f.inv_freq.size()) != c.d_head / 2)
      ++n_inconsistent;
    for (const int32_t id : c.eos_ids)
      if (id < 0) ++n_inconsistent;
  });
  check_both(result, kMutants);
  CHECK(n_inconsistent == 0);
}

TEST_CASE("mutants of generation_config.json") {
  const TempDir dir;
  const std::string sample =
      R"({"eos_token_id": [2, 128009], "do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 50})";
  const FuzzResult result = fuzz(Mutator(22, {sample}), 2000, [&](const std::string& text) {
    replace_file(dir.path() / "generation_config.json", text);
    GenerationConfig::load(dir.path().string());
  });
  check_both(result, 2000);
}

TEST_CASE("mutants of the config of a checkpoint that holds other weights") {
  const TinyModel model;
  const auto backend = make_cpu_backend(1);
  const FuzzResult result = fuzz(Mutator(23, {model.config().dump()}), 2000, [&](const std::string& text) {
    const ModelConfig config = ModelConfig::parse(text, "config.json");
    ModelWeights::load(model.path(), config, backend.get(), {});
  });
  check_both(result, 2000);
}

TEST_CASE("mutants of the config of gates") {
  const TinyModel model;
  const ModelConfig config = ModelConfig::load(model.path());
  const TinyGates gates;
  const TempDir dir;
  replace_file(dir.path() / "attn_gate_weights.safetensors",
               testing::safetensors_bytes(gates.tensors(model.shape())));
  int n_inconsistent = 0;
  const std::string sample = gates.config(model.shape()).dump();
  const FuzzResult result = fuzz(Mutator(24, {sample}), 2000, [&](const std::string& text) {
    replace_file(dir.path() / "config.json", text);
    const GateWeights loaded = GateWeights::load(dir.path().string(), config);
    const GateConfig& c = loaded.config;
    if (c.gate_block < 16 || c.gate_block > 128 || c.d_gate < config.d_head || !(c.rule.value > 0.0) ||
        !(c.rule.value <= 1.0) || loaded.layers.size() != 2)
      ++n_inconsistent;
  });
  check_both(result, 2000);
  CHECK(n_inconsistent == 0);
}

}  // namespace
}  // namespace seer
