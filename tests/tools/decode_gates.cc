#include "tests/tools/decode_gates.h"

#include <list>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "engine/base/safetensors_writer.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

std::vector<float> random_values(int64_t n, std::mt19937* random) {
  std::vector<float> values(static_cast<size_t>(n));
  // std::uniform_real_distribution differs between standard libraries.
  for (float& value : values) value = static_cast<float>((*random)() % 2001) * 2e-4F - 0.2F;
  return values;
}

}  // namespace

void write_decode_gates(const std::filesystem::path& dir, const DecodeGateShape& shape) {
  auto config = nlohmann::json::parse(read_file(demo_model() / "model" / "config.json"));
  const int64_t n_kv_heads = config["num_key_value_heads"], d = config["head_dim"];
  const int64_t group = config["num_attention_heads"].get<int64_t>() / n_kv_heads;
  const int64_t n_layers = config["num_hidden_layers"];
  config.update({{"seerattn_k_seq_pooling_type", "Kmaxminavg"},
                 {"seerattn_q_head_pooling_type", "Qproj"},
                 {"seerattn_gate_block_size", shape.block},
                 {"seerattn_gate_hidden_size", d},
                 {"seerattn_sparsity_method", shape.method},
                 {"seerattn_token_budget", shape.budget},
                 {"seerattn_start_layer", shape.start_layer}});
  std::filesystem::create_directories(dir);
  write_file(dir / "config.json", config.dump());
  std::mt19937 random(1);
  std::list<std::vector<float>> kept;
  SafetensorsWriter writer((dir / "attn_gate_weights.safetensors").string());
  const auto add = [&](const std::string& name, std::vector<int64_t> size) {
    int64_t n = 1;
    for (const int64_t side : size) n *= side;
    kept.push_back(random_values(n, &random));
    writer.add(name, "F32", std::move(size), kept.back().data(), kept.back().size() * sizeof(float));
  };
  for (int64_t layer = 0; layer < n_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".self_attn.attn_gate.attngate_";
    add(prefix + "linear_q.weight", {n_kv_heads, group, d, d});
    add(prefix + "linear_k.weight", {n_kv_heads, 3 * d, d});
  }
  writer.write();
}

}  // namespace seer::testing
