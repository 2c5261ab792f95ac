// Mistral (Jiang et al., 2023, arXiv:2310.06825) is Llama without biases. Some of its checkpoints have a
// sliding window.
#include "models/config.h"
#include "models/family.h"
#include "models/json_util.h"

namespace seer {
namespace {

constexpr std::string_view kMistralArchitectures[] = {"MistralForCausalLM", "MistralModel"};
constexpr int64_t kMistralWindow = 4096;  // transformers' default

// If there is a window, every layer has it, whatever use_sliding_window and layer_types say: transformers
// reads neither of them for Mistral.
void read_mistral(const JsonReader& json, ModelConfig* config) {
  if (!json.is_null("sliding_window")) {
    config->window = json.optional_integer("sliding_window", 1, ModelConfig::kMaxPositions);
    if (!config->window) {
      config->window = kMistralWindow;
      config->note_default("sliding_window", kMistralWindow);
    }
  }
  for (const char* key : {"attention_bias", "mlp_bias"})
    if (json.boolean(key, false))
      config->notes.push_back(std::string(key) + " is not read: Mistral's projections have no biases");
}

}  // namespace

const Family kMistral = {
    "mistral",
    kMistralArchitectures,
    {.d_ff = 14336, .n_vocab = 32000, .max_positions = 131072, .n_kv_heads = 8, .bos_id = 1, .eos_id = 2},
    read_mistral,
    {}};

}  // namespace seer
