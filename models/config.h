// config.json and generation_config.json of a Hugging Face checkpoint, as transformers reads them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace seer {

struct Family;

// rope_scaling (transformers 4) or rope_parameters (transformers 5).
struct RopeConfig {
  enum class Type { kDefault, kLinear, kDynamic, kYarn, kLlama3 };
  Type type = Type::kDefault;
  double theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;                                    // llama3
  double high_freq_factor = 4.0;                                   // llama3
  double beta_fast = 32.0;                                         // yarn
  double beta_slow = 1.0;                                          // yarn
  bool truncate = true;                                            // yarn: whole correction dimensions
  std::optional<double> attention_factor, mscale, mscale_all_dim;  // yarn
  int64_t original_max_positions = 0;  // max_position_embeddings unless llama3 and yarn say otherwise

  bool operator==(const RopeConfig&) const = default;
};

struct ModelConfig {
  static constexpr int64_t kMaxPositions = int64_t{1} << 31;

  const Family* family = nullptr;
  std::string architecture;  // as written, "LlamaForCausalLM"
  int64_t n_layers = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t d_head = 0;
  int64_t d_model = 0;
  int64_t d_ff = 0;
  int64_t n_vocab = 0;
  int64_t max_positions = 0;
  double rms_norm_eps = 1e-6;
  bool tied_embeddings = false;
  // Which projections have biases.
  struct Biases {
    bool qkv = false, output = false, mlp = false;
  };
  Biases biases;
  bool head_norms = false;  // q_norm and k_norm: RMS norms of every query head and key head, before RoPE
  // Tokens that attention reaches back to in some layer, the token itself included; absent: all. A context of
  // this many tokens is computed without a window and is still exact.
  std::optional<int64_t> window;
  RopeConfig rope;
  std::string dtype;                      // dtype or torch_dtype as written, for people; may be empty
  std::vector<int32_t> bos_ids, eos_ids;  // from config.json; generation_config.json overrides eos_ids
  // What was read in a way that may surprise: sentences, each naming its key; none for an ordinary file.
  std::vector<std::string> notes;

  // A key that config.json leaves out has the value that transformers gives it in the family, and so has a
  // key that is null unless null means something of its own; keys that nothing here reads are ignored. Throws
  // Error{kFile} (missing, malformed, a key of the wrong type or range or at odds with another: the message
  // names it) or Error{kUnsupported} (another architecture, activation or rope type).
  static ModelConfig load(const std::string& model_dir);
  static ModelConfig load_file(const std::string& path);  // a config.json by any name
  static ModelConfig parse(const std::string& json_text, const std::string& origin);

  // Notes that a key which matters is absent, and the default that stands in for it.
  void note_default(const std::string& key, int64_t value);
};

// generation_config.json; a field is absent if the file or its key is. All values are ones that a sampler
// takes: a top_p of 0, which keeps the likeliest token, is a tiny one here, and a top_k of -1 is 0.
struct GenerationConfig {
  std::vector<int32_t> eos_ids;
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k;

  static GenerationConfig load(const std::string& model_dir);
};

}  // namespace seer
