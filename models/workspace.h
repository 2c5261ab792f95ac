// The activations of one forward step, allocated once.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/config.h"
#include "models/gate_weights.h"
#include "models/shard.h"

namespace seer {

// Views are sized for the limits; a step takes the first rows of each. Heads and d_ff are the rank's.
struct Workspace {
  Tensor x;        // [n_tokens, d_model]: the residual stream
  Tensor h;        // [n_tokens, d_model]: normed
  Tensor qkv;      // [n_tokens, (n_heads + 2 n_kv_heads) * d_head]
  Tensor q;        // [n_tokens, n_heads, d_head], rotated
  Tensor attn;     // [n_tokens, n_heads, d_head]
  Tensor gate_up;  // [n_tokens, 2 d_ff]
  Tensor act;      // [n_tokens, d_ff]
  Tensor needed;   // [n_tokens, n_heads * d_head]: attn of the rows the last layer goes on with
  Tensor logits;   // [n_logits, n_vocab]; on rank 0 alone
  RopeTable rope;  // [n_tokens, d_head / 2]

  // With several ranks.
  Tensor local_logits;     // f32 [n_logits * n_ids]: of the rank's part of the vocabulary
  Tensor gathered_logits;  // f32 [n_logits * n_vocab], rank by rank; on rank 0 alone
  // A float32 buffer for this rank's summand if activations are narrower. Empty if the step has too many
  // rows; h is free at that point and can be used.
  Tensor summand(int64_t row, int64_t n_rows);
  Tensor inbox(int64_t row, int64_t n_rows) const { return inbox_.rows(row, n_rows); }  // with peers
  bool reaches_peers() const { return reaches_peers_; }  // x, h and summands lie in memory that ranks share

  // With gates. Rows are block rows of a step.
  RopeTable block_rope;  // [n_rows, d_head / 2]
  PooledBlocks pooled;
  Tensor gate_q;       // [n_rows, n_heads, d_gate]
  Tensor kept_counts;  // i32 [n_layers, n_heads * n_rows], read once after the step
  Tensor kept_blocks;  // i32 [n_heads * n_rows * n_blocks], of one layer

  // With several ranks every one of them, together. Throws Error{kMemory}.
  Workspace(Backend* backend, Communicator* comm, const Shard& shard, const GateConfig* gate,
            const StepLimits& limits);
  // What it may allocate.
  static int64_t arena_bytes(const Backend& backend, const Shard& shard, const GateConfig* gate,
                             const StepLimits& limits);

 private:
  // Tensors one behind the other; without memory only the sizes come out right.
  struct Arena {
    char* data;
    int64_t n_tokens;  // of the step, for an error's message
    int64_t used = 0;
    Tensor take(DType type, std::initializer_list<int64_t> shape);
  };
  Workspace() = default;
  void take_stream(Arena* arena, DType dtype, const ModelConfig& model, int64_t n_tokens);
  void take_summands(Arena* arena, const ModelConfig& model, int64_t n_tokens);
  void take_rest(Arena* arena, DType dtype, const Shard& shard, const GateConfig* gate,
                 const StepLimits& limits);

  Buffer arena_;
  bool reaches_peers_ = false;
  Tensor small_summands_[2];  // by turns: other ranks may still read the last one
  Tensor large_summand_, inbox_;
  size_t turn_ = 0;
};

}  // namespace seer
