// Qwen3 (Yang et al., 2025, arXiv:2505.09388) is Llama with RMS norms of every query head and key head. Its
// heads have 128 values by default, whatever d_model is.
#include "models/config.h"
#include "models/families/layer_windows.h"
#include "models/family.h"
#include "models/json_util.h"

namespace seer {
namespace {

constexpr std::string_view kQwen3Architectures[] = {"Qwen3ForCausalLM", "Qwen3Model"};

constexpr WeightName kQwen3Names[] = {
    {WeightRole::kQueryNorm, "self_attn.q_norm"},
    {WeightRole::kKeyNorm, "self_attn.k_norm"},
};

void read_qwen3(const JsonReader& json, ModelConfig* config) {
  config->biases.qkv = config->biases.output = json.boolean("attention_bias", false);
  config->head_norms = true;
  read_layer_windows(json, config);
}

}  // namespace

const Family kQwen3 = {
    "qwen3",
    kQwen3Architectures,
    {.d_ff = 22016, .n_vocab = 151936, .max_positions = 32768, .n_kv_heads = 32, .d_head = 128},
    read_qwen3,
    kQwen3Names};

}  // namespace seer
