// Llama (Touvron et al., 2023, arXiv:2302.13971; Grattafiori et al., 2024, arXiv:2407.21783).
#include "models/config.h"
#include "models/family.h"
#include "models/json_util.h"

namespace seer {
namespace {

constexpr std::string_view kLlamaArchitectures[] = {
    "LlamaForCausalLM",
    "LLaMAForCausalLM",  // the spelling of the first conversions
    "LlamaModel",        // usually saved without lm_head
};

constexpr WeightName kLlamaNames[] = {
    {WeightRole::kEmbedding, "embed_tokens"},
    {WeightRole::kAttentionNorm, "input_layernorm"},
    {WeightRole::kQuery, "self_attn.q_proj"},
    {WeightRole::kKey, "self_attn.k_proj"},
    {WeightRole::kValue, "self_attn.v_proj"},
    {WeightRole::kOutput, "self_attn.o_proj"},
    {WeightRole::kMlpNorm, "post_attention_layernorm"},
    {WeightRole::kGate, "mlp.gate_proj"},
    {WeightRole::kUp, "mlp.up_proj"},
    {WeightRole::kDown, "mlp.down_proj"},
    {WeightRole::kNorm, "norm"},
    {WeightRole::kLmHead, "lm_head"},
};

// transformers does not read sliding_window and pretraining_tp for Llama, so neither does this.
void read_llama(const JsonReader& json, ModelConfig* config) {
  config->biases.qkv = config->biases.output = json.boolean("attention_bias", false);
  config->biases.mlp = json.boolean("mlp_bias", false);
}

}  // namespace

const std::span<const WeightName> kLlamaWeightNames = kLlamaNames;

const Family kLlama = {"llama",
                       kLlamaArchitectures,
                       {.d_ff = 11008, .n_vocab = 32000, .max_positions = 2048, .bos_id = 1, .eos_id = 2},
                       read_llama,
                       {}};

}  // namespace seer
