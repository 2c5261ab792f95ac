// The weights of a Hugging Face Llama checkpoint by their role. Names and shapes only, no mathematics. Shapes
// are in the words of Shard::local: a rank's share of the heads and of d_ff, which is all of them for one
// rank.
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
  Tensor attention_norm;  // [d_model]
  LinearWeights qkv;      // parts q [n_heads * d_head, d_model], k and v [n_kv_heads * d_head, d_model]
  LinearWeights output;   // [d_model, n_heads * d_head]
  Tensor mlp_norm;        // [d_model]
  LinearWeights gate_up;  // parts gate and up, [d_ff, d_model] each
  LinearWeights down;     // [d_model, d_ff]
};

struct LlamaWeights {
  Tensor embedding;  // [n_ids, d_model]: of the whole vocabulary, or the shard's part
  std::vector<LayerWeights> layers;
  Tensor norm;            // [d_model]
  LinearWeights lm_head;  // [n_ids, d_model]; the embedding where tied
  std::string dtype;      // of most parameters
  int64_t n_params = 0;   // of the whole model
  int64_t n_bytes = 0;

  TensorMap tensors;            // owns what lies in mapped files
  std::vector<Buffer> buffers;  // owns what was copied to the device

  // Called with bytes done and bytes in all, of what this rank holds; false stops the load with
  // Error{kCancelled}.
  using Progress = std::function<bool(int64_t done, int64_t total)>;
  // The shard's part of each tensor, which is all that is read of it. Throws Error{kFile} that names every
  // missing, unexpected or misshapen tensor (the first few of each), and what read_checkpoint throws.
  static LlamaWeights load(const std::string& model_dir, const ModelConfig& config, const Shard& shard,
                           Backend* backend, const Progress& on_progress);
  static LlamaWeights load(const std::string& model_dir, const ModelConfig& config, Backend* backend,
                           const Progress& on_progress) {
    return load(model_dir, config, Shard(config), backend, on_progress);
  }
  // A model of this shape without biases, for measuring: the same weights on every device and for every count
  // of ranks. Throws Error{kMemory}.
  static LlamaWeights random(const ModelConfig& config, const Shard& shard, Backend* backend, uint64_t seed);
};

}  // namespace seer
