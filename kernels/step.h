// The input of a step, its limits, and the operands that its operations share: RoPE tables, norms of heads,
// and pools of gate blocks.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/block_mask.h"
#include "kernels/paged_kv.h"
#include "kernels/tensor.h"

namespace seer {

// The largest step for which a backend must have room.
struct StepLimits {
  int64_t n_tokens = 0;     // of a step
  int64_t n_sequences = 1;  // of a step
  int64_t n_logits = 0;     // rows whose logits are computed at once
  int64_t n_blocks = 0;     // gate blocks of the longest sequence
  int64_t page_tokens = 0;  // of the KV cache; a page is one gate block
};

// The data that a step's operations read from the host. Backend::begin_step() takes it. Operations on the
// whole step find their ids, positions, page tables and logit rows in it.
//
// Lifetime: a backend keeps these views without a copy. The memory that the spans and the page tables point
// to must stay alive and unchanged until the next begin_step(), or until the caller will call no further
// operation of this step.
struct StepInput {
  std::span<const int32_t> ids;  // [n_tokens], each in 0 .. n_vocab - 1
  Step step;
  std::span<const int64_t> logit_rows;  // ascending rows of the step whose logits are wanted; may be empty
  // Used by context parallelism only, and otherwise empty. There is one segment per decode, with the same
  // row. Its page table lists, in order, only the pages that this rank owns, and start + 1 is the number of
  // keys in them. If this rank owns none, start is -1.
  std::span<const Segment> decode_parts = {};
  // One for each decode, or empty if all decodes are dense.
  std::span<const DecodeRule> decode_rules = {};
  // With decode_parts: for each decode, the most of its keys that any rank has. A device may choose by these
  // numbers how it runs a step, but not by the numbers of its own part: only these are the same on every
  // rank, and ranks must record the same steps.
  std::span<const int64_t> largest_parts = {};
};

// The cosines and sines of consecutive rows, multiplied by the model's attention scaling.
struct RopeTable {
  Tensor cos;  // f32 [n_rows, d_rot / 2]
  Tensor sin;  // f32 [n_rows, d_rot / 2]
};

// The RMS norms over d_head of each query head and of each key head, which are applied before pooling and
// RoPE (Qwen3). Both weights are empty if the model has no such norms.
struct HeadNorms {
  Tensor q, k;       // [d_head], in the type in which weights are stored
  double eps = 0.0;  // added to the mean of squares
  explicit operator bool() const { return static_cast<bool>(q); }
};

// The pools of the gate blocks of a step, taken before RoPE. Each block row of the step's prefill segments
// has one row here, in the order of the segments.
struct PooledBlocks {
  GatePools q_pools, k_pools;
  Tensor q;          // [n_rows, n_heads, n_q_pools * d_head]
  Tensor k;          // [n_rows, n_kv_heads, n_k_pools * d_head]
  Tensor projected;  // f32 scratch [n_rows, max(n_heads, n_gate_heads), d_gate]

  // Returns a view of `count` rows from `begin` on.
  PooledBlocks rows(int64_t begin, int64_t count) const {
    return {q_pools, k_pools, q.rows(begin, count), k.rows(begin, count), projected.rows(begin, count)};
  }
};

// Returns how many elements Backend::decode_attention_part() writes for n tokens. Its output is one flat
// tensor, so that a rank can send it at once: first the outputs [n, n_heads, d_head], then the logarithms
// [n, n_heads].
inline int64_t attention_part_size(int64_t n, int64_t n_heads, int64_t d_head) {
  return n * n_heads * (d_head + 1);
}

}  // namespace seer
