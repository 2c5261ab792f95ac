// Describes how the checkpoints of one model family differ from those of the others. Each family is one file
// in models/families/ that defines a Family; families.cc lists them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "models/weight_role.h"

namespace seer {

class JsonReader;
struct ModelConfig;

struct Family {
  std::string_view model_type;  // the value of model_type in config.json, "llama"
  // The names in config.json's "architectures" that mean this family. Messages use the first one.
  std::span<const std::string_view> architectures;

  // The values that transformers gives to keys that config.json leaves out.
  struct Defaults {
    int64_t n_layers = 32, n_heads = 32, d_model = 4096;
    int64_t d_ff = 0, n_vocab = 0, max_positions = 0;
    std::optional<int64_t> n_kv_heads = {};  // if absent, n_heads
    std::optional<int64_t> d_head = {};      // if absent, d_model / n_heads
    std::optional<int32_t> bos_id = {}, eos_id = {};
  };
  Defaults defaults;

  // Reads the keys that only this family has, or that it understands in its own way: biases, norms of heads
  // and the attention window. The keys that families share must be in `config` already. Throws
  // Error{kUnsupported} or Error{kFile} that names the key.
  void (*read)(const JsonReader& json, ModelConfig* config);

  // Names of the weights that Llama does not have, or has under another name. All other names are Llama's.
  std::span<const WeightName> own_weights;
};

// Returns all families, in the order in which messages name them.
std::span<const Family* const> families();
// Returns "LlamaForCausalLM, MistralForCausalLM or ...", for messages.
std::string family_architectures();

extern const Family kLlama, kMistral, kQwen2, kQwen3;
extern const std::span<const WeightName> kLlamaWeightNames;

}  // namespace seer
