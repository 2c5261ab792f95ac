// The activations of one forward step, allocated once.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/arena.h"
#include "models/config.h"
#include "models/gates.h"
#include "models/shard.h"

namespace seer {

// The tensors have room for the largest step; a smaller step uses the first rows of each. Numbers of heads
// and d_ff are those of this rank.
struct Workspace {
  Tensor x;        // [n_tokens, d_model]: the residual stream
  Tensor h;        // [n_tokens, d_model]: normalised rows of x
  Tensor qkv;      // [n_tokens, (n_heads + 2 n_kv_heads) * d_head]
  Tensor q;        // [n_tokens, n_heads, d_head], rotated
  Tensor attn;     // [n_tokens, n_heads, d_head]
  Tensor gate_up;  // [n_tokens, 2 d_ff]
  Tensor act;      // [n_tokens, d_ff]
  Tensor needed;   // [n_tokens, n_heads * d_head]: rows of attn whose logits are wanted, in the last layer
  Tensor logits;   // [n_logits, n_vocab]; only on rank 0
  RopeTable rope;  // [n_tokens, d_head / 2]

  // ---- only with several ranks ----

  Tensor local_logits;     // f32 [n_logits * n_ids]: logits of this rank's part of the vocabulary
  Tensor gathered_logits;  // f32 [n_logits * n_vocab], one rank after the other; only on rank 0
  // Float32 buffer for this rank's summand when activations are bf16: rows row .. row + n_rows of the step.
  // Empty if the step has too many rows, or if activations are float32; use `h`, which is free at that point.
  Tensor summand(int64_t row, int64_t n_rows);
  // The inbox of Communicator::start_sum() for the same rows; only if reaches_peers().
  Tensor inbox(int64_t row, int64_t n_rows) const { return inbox_.rows(row, n_rows); }
  // True if x, h and the summands lie in memory that ranks share.
  bool reaches_peers() const { return reaches_peers_; }

  // ---- only with gates; rows are the block rows of a step ----

  // [n_rows, d_head / 2]. If there are gates for decoding, a row for each decode follows the block rows.
  RopeTable block_rope;

  // ---- only with gates for prompts ----

  PooledBlocks pooled;
  Tensor gate_q;       // [n_rows, n_heads, d_gate]
  Tensor kept_counts;  // i32 [n_layers, n_heads * n_rows], read once after the step
  Tensor kept_blocks;  // i32 [n_heads * n_rows * n_blocks], of one layer

  // ---- only with gates for decoding ----

  RopeTable within_rope;  // [page_tokens, d_head / 2]: BlockRopes::within
  Tensor decode_counts;   // i32 [n_layers, n_kv_heads * n_sequences], read once after the step
  Tensor decode_blocks;   // i32 [n_kv_heads * n_sequences, n_blocks], of one layer

  // If there are several ranks, all of them construct theirs together. Throws Error{kMemory}.
  Workspace(Backend* backend, Communicator* comm, const Shard& shard, const GateConfigs& gates,
            const StepLimits& limits);
  // The most bytes that the constructor may allocate.
  static int64_t arena_bytes(const Backend& backend, const Shard& shard, const GateConfigs& gates,
                             const StepLimits& limits);

 private:
  Workspace() = default;
  void take_stream(Arena* arena, DType dtype, const ModelConfig& model, int64_t n_tokens);
  void take_summands(Arena* arena, const ModelConfig& model, int64_t n_tokens);
  void take_rest(Arena* arena, DType dtype, const Shard& shard, const GateConfigs& gates,
                 const StepLimits& limits);

  Buffer arena_;
  bool reaches_peers_ = false;
  Tensor small_summands_[2];  // used by turns, because other ranks may still read the last one
  Tensor large_summand_, inbox_;
  size_t turn_ = 0;
};

}  // namespace seer
