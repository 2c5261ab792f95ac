// Which key blocks each query block of each head attends to, as compact lists.
#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace seer {

// Rows are the query blocks of one prefill segment. Blocks of a row ascend; all are causal.
struct BlockMask {
  Tensor counts;  // i32 [n_heads, n_rows]: kept blocks of a row, at least 1
  Tensor blocks;  // i32 [n_heads, n_rows, row_capacity]: the first counts[h, r] entries of a row are valid

  int64_t n_heads() const { return counts.dim(0); }
  int64_t n_rows() const { return counts.dim(1); }
  int64_t row_capacity() const { return blocks.dim(2); }
};

// SeerAttention's selection (arXiv:2410.13276 section 3; DESIGN section 2, points 5 to 7).
struct SelectRule {
  enum class Method { kThreshold, kNzRatio };
  Method method = Method::kThreshold;
  double value = 0.0;
  bool last_block_dense = true;  // the last two block rows of the prompt keep every causal block
  int64_t n_prompt_blocks = 0;   // of the whole prompt, whatever the chunk
};

// Pools of one side of a gate; concatenated in the order max, min, avg.
struct GatePools {
  bool max = false, min = false, avg = false;
  int count() const { return int{max} + int{min} + int{avg}; }
};

// Weights and shape of one layer's gate.
struct GateView {
  using Pools = GatePools;
  Pools q_pools, k_pools;  // concatenated in the order max, min, avg
  Tensor linear_q;  // [n_heads, n_q_pools * d_head, d_gate]; empty: pooled queries are used as they are
  Tensor linear_k;  // [n_gate_heads, n_k_pools * d_head, d_gate]
  int64_t d_gate() const { return linear_k.dim(2); }
  int64_t n_gate_heads() const { return linear_k.dim(0); }
};

}  // namespace seer
