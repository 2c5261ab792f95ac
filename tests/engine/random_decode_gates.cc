#include "tests/engine/random_decode_gates.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "tests/models/safetensors_builder.h"

namespace seer::testing {

RandomDecodeGates::RandomDecodeGates(int64_t block) {
  nlohmann::json config = nlohmann::json::parse(read_file(demo_model() / "model" / "config.json"));
  const int64_t n_layers = config.at("num_hidden_layers"), n_kv_heads = config.at("num_key_value_heads"),
                d_head = config.at("head_dim");
  const int64_t group = config.at("num_attention_heads").get<int64_t>() / n_kv_heads;
  config["seerattn_k_seq_pooling_type"] = "Kmaxminavg";
  config["seerattn_q_head_pooling_type"] = "Qproj";
  config["seerattn_gate_block_size"] = block;
  config["seerattn_gate_hidden_size"] = d_head;
  config["seerattn_use_qk_norm"] = true;
  config["seerattn_sparsity_method"] = "token_budget";
  config["seerattn_token_budget"] = 2 * block;
  config["seerattn_start_layer"] = 1;

  uint64_t state = 7;
  const auto uniform = [&state] {  // in [-1, 1)
    state = state * 6364136223846793005U + 1442695040888963407U;
    return static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31F;
  };
  std::vector<NamedTensor> tensors;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape, float center,
                       float spread) {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    std::vector<float> values(static_cast<size_t>(n));
    for (float& x : values) x = center + spread * uniform();
    tensors.push_back(f32_tensor(name, shape, values));
  };
  const float scale = 1.0F / std::sqrt(static_cast<float>(d_head));
  for (int64_t l = 0; l < n_layers; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".self_attn.attn_gate.attngate_";
    add(prefix + "linear_q.weight", {n_kv_heads, group, d_head, d_head}, 0.0F, scale);
    add(prefix + "linear_k.weight", {n_kv_heads, 3 * d_head, d_head}, 0.0F, scale);
    add(prefix + "qnorm.weight", {d_head}, 1.0F, 0.5F);
    add(prefix + "knorm.weight", {d_head}, 1.0F, 0.5F);
  }
  write_file(dir_.path() / "config.json", config.dump());
  write_file(dir_.path() / "attn_gate_weights.safetensors", safetensors_bytes(tensors));
}

}  // namespace seer::testing
