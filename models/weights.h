// The weights of a decoder by their roles. Shapes are those of Shard::local: a rank's heads and its part of
// d_ff, which are all of them if there is one rank.
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
  LinearWeights qkv;            // parts q [n_heads * d_head, d_model], k and v [n_kv_heads * d_head, d_model]
  Tensor query_norm, key_norm;  // [d_head], of every head; empty in families without
  LinearWeights output;         // [d_model, n_heads * d_head]
  Tensor mlp_norm;              // [d_model]
  LinearWeights gate_up;        // parts gate and up, [d_ff, d_model] each
  LinearWeights down;           // [d_model, d_ff]
};

struct ModelWeights {
  Tensor embedding;  // [n_ids, d_model]: of the whole vocabulary, or of the shard's part
  std::vector<LayerWeights> layers;
  Tensor norm;                       // [d_model]
  LinearWeights lm_head;             // [n_ids, d_model]; the embedding if the two are tied
  std::string dtype;                 // of most parameters
  int64_t n_params = 0;              // of the whole model, all ranks together
  int64_t n_bytes = 0;               // likewise, as stored
  bool tied = false;                 // lm_head is the embedding
  std::vector<std::string> notes;    // sentences about tensors that were read in a way that may surprise
  std::vector<std::string> skipped;  // names and shapes of tensors that this model does not use

  TensorMap tensors;            // owns weights that are used where files are mapped
  std::vector<Buffer> buffers;  // owns weights that were copied to the device

  // Called with bytes done and bytes in all, of the shard; false stops the load with Error{kCancelled}.
  using Progress = std::function<bool(int64_t done, int64_t total)>;
  // Loads the shard's part of each tensor, and reads no more than that. Throws Error{kFile} that names every
  // missing, unexpected or misshapen tensor (the first few of each), and the errors of read_checkpoint.
  static ModelWeights load(const std::string& model_dir, const ModelConfig& config, const Shard& shard,
                           Backend* backend, const Progress& on_progress);
  static ModelWeights load(const std::string& model_dir, const ModelConfig& config, Backend* backend,
                           const Progress& on_progress) {
    return load(model_dir, config, Shard(config), backend, on_progress);
  }
  // A model of this shape whose biases are zero, for measuring: the same weights on every device and for
  // every count of ranks. Throws Error{kMemory}.
  static ModelWeights random(const ModelConfig& config, const Shard& shard, Backend* backend, uint64_t seed);
};

}  // namespace seer
