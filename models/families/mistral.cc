// Mistral (Jiang et al., 2023, arXiv:2310.06825): Llama without biases, and with a sliding window in some of
// its checkpoints.
#include "models/config.h"
#include "models/family.h"
#include "models/json_util.h"

namespace seer {
namespace {

constexpr std::string_view kArchitectures[] = {"MistralForCausalLM"};

void read(const JsonReader& json, ModelConfig* config) {
  config->biases.qkv = config->biases.output = json.boolean("attention_bias", false);
  config->biases.mlp = json.boolean("mlp_bias", false);
}

}  // namespace

const Family kMistral = {"mistral",
                         kArchitectures,
                         {.n_vocab = 32000, .max_positions = 131072, .n_kv_heads = 8, .d_head = {}},
                         read,
                         kLlamaWeightNames};

}  // namespace seer
