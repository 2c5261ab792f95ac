// Trained gates of SeerAttention-R, which choose key blocks for decoded tokens: the seerattn_* keys of a
// config.json, and the weights in the same folder.
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

struct DecodeGateConfig {
  // How the query heads of a group become one gate query.
  enum class QueryPool {
    kProjected,      // Qproj: each head has a matrix, and the products are summed
    kMeanProjected,  // Qavgproj: the mean of the heads is multiplied by one matrix
    kMean,           // Qavg: the mean itself
  };
  QueryPool query_pool = QueryPool::kProjected;
  std::string gate_type;    // as the file spells it: "Qproj_Kmaxminavg"
  GatePools k;              // how the keys of a block are pooled
  int64_t gate_block = 64;  // tokens: 16, 32 or 64
  int64_t d_gate = 0;       // seerattn_gate_hidden_size; equal to d_head
  bool has_norms = false, rotates = true;
  int64_t start_layer = 0;  // decodes attend to everything in the layers before it
  DecodeRule rule;          // the gates' own rule
  bool untuned = false;  // neither a threshold nor a budget was chosen: the rule is upstream's usual budget

  // Returns how many query heads linear_q takes as inputs for one KV head, whose group has `group` heads; 0
  // if there is no such matrix.
  int64_t query_heads(int64_t group) const {
    return query_pool == QueryPool::kProjected ? group : query_pool == QueryPool::kMeanProjected ? 1 : 0;
  }
};

struct DecodeGateLayer {
  Tensor linear_q;        // [n_kv_heads, query_heads * d_head, d_gate]; empty for Qavg
  Tensor linear_k;        // [n_kv_heads, n_k_pools * d_head, d_gate]
  Tensor q_norm, k_norm;  // [d_gate]; empty without norms
};

struct DecodeGateWeights {
  DecodeGateConfig config;
  std::vector<DecodeGateLayer> layers;
  TensorMap tensors;  // owns the memory of the layers' tensors

  // Returns whether a config.json is that of gates for decoding.
  static bool describes(const JsonReader& config) {
    return config.has("seerattn_k_seq_pooling_type") || config.has("seerattn_q_head_pooling_type");
  }
  // Throws as GateWeights::load() does.
  static DecodeGateWeights load(const std::string& gates_dir, const ModelConfig& model);
  // Returns random gates of the shape that the keys of `config_path` describe, for measuring; absent if it
  // does not describe gates for decoding.
  static std::optional<DecodeGateWeights> random(const std::string& config_path, const ModelConfig& model,
                                                 uint64_t seed);
  // Reads the seerattn_* keys. Throws as load() does if one of them is missing or not allowed.
  static DecodeGateConfig read_config(const JsonReader& config, const ModelConfig& model);
  // Drops the weights of KV heads that are not this rank's.
  void keep(const Shard& shard);
};

}  // namespace seer
