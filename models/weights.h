// The weights of a decoder, by their roles. Shapes are those of Shard::local: they count a rank's heads and
// its part of d_ff, which are all heads and all of d_ff if there is one rank.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "models/config.h"
#include "models/safetensors.h"
#include "models/shard.h"

namespace seer {

struct LayerWeights {
  Tensor attention_norm;        // [d_model]
  LinearWeights qkv;            // parts: q [n_heads * d_head, d_model]; k, v [n_kv_heads * d_head, d_model]
  Tensor query_norm, key_norm;  // [d_head], shared by all heads; empty if the family has none
  LinearWeights output;         // [d_model, n_heads * d_head]
  Tensor mlp_norm;              // [d_model]
  LinearWeights gate_up;        // parts: gate and up, each [d_ff, d_model]
  LinearWeights down;           // [d_model, d_ff]
};

struct ModelWeights {
  Tensor embedding;  // [n_ids, d_model], for the shard's ids
  std::vector<LayerWeights> layers;
  Tensor norm;            // [d_model]
  LinearWeights lm_head;  // [n_ids, d_model]; the embedding if the two are tied
  std::string dtype;      // of most weights: "BF16", or of codes "F8_E4M3", "I8", "int4"
  int64_t n_params = 0;   // of the whole model, all ranks together
  int64_t n_bytes = 0;    // of the whole model, as stored, or as the format that was asked for takes
  // A sentence about how linear layers are quantised: which of them, and in how many bits. Empty if none is.
  std::string quantisation;
  bool tied = false;                 // whether lm_head is the embedding
  std::vector<std::string> notes;    // sentences about tensors that were read in a way that may surprise
  std::vector<std::string> skipped;  // names and shapes of tensors that this model does not use

  TensorMap tensors;            // owns weights that are used in mapped files
  std::vector<Buffer> buffers;  // owns weights that were copied to the device

  // Is called with the bytes done and the bytes in all, both of the shard. If it returns false, the load
  // stops with Error{kCancelled}.
  using Progress = std::function<bool(int64_t done, int64_t total)>;
  // Loads the shard's part of each tensor. A rank reads no other bytes of the weights, with one exception: if
  // config.json ties lm_head and the file has both tables, all ranks compare both to see whether they are
  // equal. `backend` must outlive the result. Throws Error{kFile} that names missing, unexpected and
  // misshapen tensors (the first few of each) or a norm or bias with a value that is NaN or infinite,
  // Error{kCancelled}, and the errors of read_checkpoint.
  //
  // Matrices of layers are brought to `format`, one after the other. A rank rounds its own part: if it has
  // some of a matrix's inputs, they have scales of their own. check_format() must have been called.
  static ModelWeights load(const std::string& model_dir, const ModelConfig& config, const Shard& shard,
                           Backend* backend, const Progress& on_progress,
                           WeightFormat format = WeightFormat::kStored);
  static ModelWeights load(const std::string& model_dir, const ModelConfig& config, Backend* backend,
                           const Progress& on_progress) {
    return load(model_dir, config, Shard(config), backend, on_progress);
  }
  // Returns random weights of the model's shape for measuring. All biases are zero. The same seed gives the
  // same weights on every device and for every count of ranks, before they are brought to `format` as load()
  // does. Throws Error{kMemory} or Error{kCancelled}.
  static ModelWeights random(const ModelConfig& config, const Shard& shard, Backend* backend, uint64_t seed,
                             const Progress& on_progress = {}, WeightFormat format = WeightFormat::kStored);
};

// If config.json does not say vocab_size, sets it to the number of rows that the saved embedding has, and
// notes this. transformers would take the family's default and refuse the weights if that is another number.
// Throws the errors of read_checkpoint.
void find_vocabulary(const std::string& model_dir, ModelConfig* config);

}  // namespace seer
