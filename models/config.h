// Reads config.json of a Hugging Face checkpoint as transformers reads it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/quant/scheme.h"

namespace seer {

struct Family;

// The contents of rope_scaling (transformers 4) or rope_parameters (transformers 5).
struct RopeConfig {
  enum class Type { kDefault, kLinear, kDynamic, kYarn, kLlama3 };
  Type type = Type::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;   // llama3
  double high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0;        // yarn
  double beta_slow = 1.0;         // yarn
  bool truncate = true;           // yarn: whether correction dimensions are rounded to whole ones
  std::optional<double> attention_factor, mscale, mscale_all_dim;  // yarn
  int64_t original_max_positions = 0;  // max_position_embeddings, unless llama3 or yarn gives another value

  bool operator==(const RopeConfig&) const = default;
};

struct ModelConfig {
  static constexpr int64_t kMaxPositions = int64_t{1} << 30;  // page ids and row counts stay within 32 bits

  const Family* family = nullptr;
  std::string architecture;  // as config.json spells it, "LlamaForCausalLM"
  int64_t n_layers = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t d_head = 0;
  int64_t d_model = 0;
  int64_t d_ff = 0;
  int64_t n_vocab = 0;
  bool n_vocab_given = true;  // false if vocab_size is absent, so that n_vocab is the family's default
  int64_t max_positions = 0;
  double rms_norm_eps = 1e-6;
  bool tied_embeddings = false;
  // Says which projections have biases.
  struct Biases {
    bool qkv = false, output = false, mlp = false;
  };
  Biases biases;
  bool head_norms = false;  // whether RMS norms (q_norm, k_norm) of every query and key head precede RoPE
  // How many tokens attention reaches back to in the layers that have a window, the token itself included;
  // absent if no layer has one. A context of up to this many tokens is exact if it is computed without a
  // window.
  std::optional<int64_t> window;
  RopeConfig rope;
  std::optional<QuantScheme> quant;  // how the checkpoint's linear layers are quantised; absent: they are not
  std::string dtype;  // dtype or torch_dtype as config.json spells it, for messages; may be empty
  std::vector<int32_t> bos_ids, eos_ids;
  bool default_eos = false;  // eos_ids are the family's, because config.json does not have the key
  // Sentences about keys that were read in a way that may surprise. Each names its key. There are none for an
  // ordinary file.
  std::vector<std::string> notes;

  // Reads config.json in the folder. A key that is left out, or that is null and for which null means nothing
  // of its own, has the value that transformers gives it in the model's family. Keys that this code does not
  // know are ignored. Throws Error{kFile} if the file or a needed key is missing, the file is malformed, or a
  // key has the wrong type or range or contradicts another. Throws Error{kUnsupported} if the architecture,
  // activation, rope type or quantisation is not supported. The message names the key.
  static ModelConfig load(const std::string& model_dir);
  // The same for a config.json of any name, and for its text; `origin` names the text in messages.
  static ModelConfig load_file(const std::string& path);
  static ModelConfig parse(const std::string& json_text, const std::string& origin);

  // Adds a note that an important key is absent, and which default is used.
  void note_default(const std::string& key, int64_t value);
  // Sets n_vocab to the number of ids that the weights have, in place of a default, and changes the note.
  void set_vocabulary(int64_t n);
};

}  // namespace seer
