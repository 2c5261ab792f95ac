#include "tests/models/tiny_model.h"

#include <cmath>

namespace seer::testing {

float next_random(uint64_t* state) {
  *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;  // Knuth's MMIX
  return static_cast<float>(static_cast<double>(*state >> 40) / (1 << 23) - 1.0);
}

TinyModel::TinyModel(const TinyShape& shape) : shape_(shape) {
  const int64_t d_q = shape.n_heads * shape.d_head, d_kv = shape.n_kv_heads * shape.d_head;
  // A row of weights has a norm near 1, so that activations stay near 1; biases and norms are not neutral.
  const auto linear = [&](const std::string& name, int64_t d_out, int64_t d_in, bool bias) {
    add(name + ".weight", {d_out, d_in}, 0.0F, std::sqrt(3.0F / static_cast<float>(d_in)));
    if (bias) add(name + ".bias", {d_out}, 0.0F, 0.5F);
  };
  add("model.embed_tokens.weight", {shape.n_vocab, shape.d_model}, 0.0F, 1.0F);
  for (int64_t l = 0; l < shape.n_layers; ++l) {
    const std::string name = "model.layers." + std::to_string(l) + ".";
    add(name + "input_layernorm.weight", {shape.d_model}, 1.0F, 0.5F);
    linear(name + "self_attn.q_proj", d_q, shape.d_model, shape.qkv_bias());
    linear(name + "self_attn.k_proj", d_kv, shape.d_model, shape.qkv_bias());
    linear(name + "self_attn.v_proj", d_kv, shape.d_model, shape.qkv_bias());
    if (shape.head_norms())
      for (const char* norm : {"q_norm", "k_norm"})
        add(name + "self_attn." + norm + ".weight", {shape.d_head}, 1.0F, 0.5F);
    linear(name + "self_attn.o_proj", shape.d_model, d_q, shape.output_bias());
    add(name + "post_attention_layernorm.weight", {shape.d_model}, 1.0F, 0.5F);
    linear(name + "mlp.gate_proj", shape.d_ff, shape.d_model, shape.any_mlp_bias());
    linear(name + "mlp.up_proj", shape.d_ff, shape.d_model, shape.any_mlp_bias());
    linear(name + "mlp.down_proj", shape.d_model, shape.d_ff, shape.any_mlp_bias());
  }
  add("model.norm.weight", {shape.d_model}, 1.0F, 0.5F);
  if (!shape.tied) linear("lm_head", shape.n_vocab, shape.d_model, false);
  write_config(config());
  write_tensors(tensors_);
}

void TinyModel::add(const std::string& name, const std::vector<int64_t>& shape, float center, float spread) {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = center + spread * next_random(&random_);
  tensors_.push_back(f32_tensor(name, shape, values));
  values_[name] = std::move(values);
}

nlohmann::json TinyModel::config() const {
  return {{"architectures", {shape_.architecture}},
          {"num_hidden_layers", shape_.n_layers},
          {"num_attention_heads", shape_.n_heads},
          {"num_key_value_heads", shape_.n_kv_heads},
          {"head_dim", shape_.d_head},
          {"hidden_size", shape_.d_model},
          {"intermediate_size", shape_.d_ff},
          {"vocab_size", shape_.n_vocab},
          {"max_position_embeddings", shape_.max_positions},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"attention_bias", shape_.attention_bias},
          {"mlp_bias", shape_.mlp_bias},
          {"tie_word_embeddings", shape_.tied}};
}

void TinyModel::write_config(const nlohmann::json& config) const {
  write_file(dir_.path() / "config.json", config.dump());
}

void TinyModel::write_tensors(const std::vector<NamedTensor>& tensors) const {
  write_file(dir_.path() / "model.safetensors", safetensors_bytes(tensors));
}

nlohmann::json TinyGates::config(const TinyShape& model) const {
  return {{"num_hidden_layers", model.n_layers},
          {"num_attention_heads", model.n_heads},
          {"num_key_value_heads", model.n_kv_heads},
          {"head_dim", model.d_head},
          {"hidden_size", model.d_model},
          {"vocab_size", model.n_vocab},
          {"seerattn_gate_type", gate_type},
          {"seerattn_gate_block_size", gate_block},
          {"seerattn_gate_hidden_size", d_gate},
          {"seerattn_gate_force_double", double_linear},
          {"seerattn_last_block_dense", false},
          {"seerattn_sparsity_method", "threshold"},
          {"seerattn_threshold", 0.05},
          {"seer_threshold_factors", threshold_factors}};
}

std::vector<NamedTensor> TinyGates::tensors(const TinyShape& model) const {
  uint64_t random = 7;
  std::vector<NamedTensor> out;
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    std::vector<float> values(static_cast<size_t>(shape[0] * shape[1] * shape[2]));
    for (float& v : values) v = next_random(&random);
    out.push_back(f32_tensor(name, shape, values));
  };
  for (int64_t l = 0; l < model.n_layers; ++l) {
    const std::string name = "model.layers." + std::to_string(l) + ".self_attn.attn_gate.mask_linear_";
    if (double_linear) add(name + "q.weight", {model.n_heads, n_q_pools * model.d_head, d_gate});
    const int64_t n_gate_heads = double_linear ? model.n_kv_heads : model.n_heads;
    add(name + "k.weight", {n_gate_heads, n_k_pools * model.d_head, d_gate});
  }
  return out;
}

}  // namespace seer::testing
