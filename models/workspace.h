// The activations of one forward step, allocated once.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
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
  Tensor partial;  // f32 [n_partial, d_model], where activations are narrower: a rank's share of a sum

  // With gates. Rows are block rows of a step.
  RopeTable block_rope;  // [n_rows, d_head / 2]
  PooledBlocks pooled;
  Tensor gate_q;       // [n_rows, n_heads, d_gate]
  Tensor kept_counts;  // i32 [n_layers, n_heads * n_rows], read once after the step
  Tensor kept_blocks;  // i32 [n_heads * n_rows * n_blocks], of one layer

  // One arena. Throws Error{kMemory}.
  Workspace(Backend* backend, const Shard& shard, const GateConfig* gate, const StepLimits& limits);
  static int64_t arena_bytes(const Backend& backend, const Shard& shard, const GateConfig* gate,
                             const StepLimits& limits);

 private:
  Workspace(DType dtype, Buffer arena, const Shard& shard, const GateConfig* gate, const StepLimits& limits);
  Buffer arena_;
  int64_t used_ = 0;
};

}  // namespace seer
