// Qwen2 and Qwen2.5 (Yang et al., 2024, arXiv:2407.10671) are Llama with biases on the query, key and value
// projections.
#include "models/config.h"
#include "models/families/layer_windows.h"
#include "models/family.h"
#include "models/json_util.h"

namespace seer {
namespace {

constexpr std::string_view kQwen2Architectures[] = {"Qwen2ForCausalLM", "Qwen2Model"};

void read_qwen2(const JsonReader& json, ModelConfig* config) {
  config->biases.qkv = true;
  read_layer_windows(json, config);
}

}  // namespace

const Family kQwen2 = {"qwen2",
                       kQwen2Architectures,
                       {.d_ff = 22016, .n_vocab = 151936, .max_positions = 32768, .n_kv_heads = 32},
                       read_qwen2,
                       {}};

}  // namespace seer
