// Trained SeerAttention gates: the seerattn_* keys of a config.json, and the weights in the same folder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/block_mask.h"
#include "kernels/tensor.h"
#include "models/config.h"
#include "models/json_util.h"
#include "models/safetensors.h"
#include "models/shard.h"

namespace seer {

struct GateConfig {
  static constexpr float kMostHeadFactor = 1000.0F;

  std::string gate_type;  // as the file spells it: "Qavg_Kmaxminavg"
  GatePools q, k;
  int64_t gate_block = 64;     // tokens; 16 to 128
  int64_t d_gate = 0;          // seerattn_gate_hidden_size
  bool double_linear = false;  // more than one Q pool, d_gate != d_head, or seerattn_gate_force_double
  SelectRule rule;             // the gates' own rule; n_prompt_blocks is not set
  bool untuned = false;        // seerattn_threshold was 0.0 ("never tuned"): 2e-3 is used instead
  // seer_threshold_factors, [n_layers, n_heads]: kHeadThreshold multiplies its value by these. Empty if the
  // file has none.
  std::vector<float> head_factors;

  int64_t n_gate_heads(const ModelConfig& model) const {
    return double_linear ? model.n_kv_heads : model.n_heads;
  }
};

struct GateLayer {
  Tensor linear_q;  // [n_heads, n_q_pools * d_head, d_gate]; double linear only
  Tensor linear_k;  // [n_gate_heads, n_k_pools * d_head, d_gate]
};

struct GateWeights {
  GateConfig config;
  std::vector<GateLayer> layers;
  TensorMap tensors;  // owns what the layers point to

  // Reads config.json and attn_gate_weights.{safetensors,pth} of `gates_dir` and checks both against the
  // model. Throws Error{kFile} if a file is malformed, if a tensor is missing, unexpected or misshapen, or
  // has a value that is NaN or infinite, and if the gates are those of another model; the message then names
  // the first differing key with both values. Throws Error{kUnsupported} for gates that Seer cannot run.
  static GateWeights load(const std::string& gates_dir, const ModelConfig& model);
  // Returns random gates of the shape that the seerattn_* keys of `config_path` describe, for measuring;
  // absent if it has no such keys.
  static std::optional<GateWeights> random(const std::string& config_path, const ModelConfig& model,
                                           uint64_t seed);
  // Reads the seerattn_* keys. Throws as load() does if one of them is missing or not allowed.
  static GateConfig read_config(const JsonReader& config, const ModelConfig& model);
  // Drops the weights and the factors of heads that are not this rank's.
  void keep(const Shard& shard);
};

}  // namespace seer
