// Which key blocks each query block of each head attends to, as compact lists.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"
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

// How many blocks of a row are kept, by a rule that keeps the best ones: a share of the whole prompt's
// blocks, which is the same number in every row, or a share of the row's own causal blocks.
struct KeptCount {
  double share = 0.0;
  int64_t n_blocks = 0;  // of which the share is taken; 0: the row's causal blocks

  // At least 1. May be more than n_causal, which is then what is kept.
  SEER_HOST_DEVICE constexpr int64_t of_row(int64_t n_causal) const {
    const auto k = static_cast<int64_t>(share * static_cast<double>(n_blocks > 0 ? n_blocks : n_causal));
    return k < 1 ? 1 : k;
  }
};

// Which blocks a gate keeps, and the prompt whose rows it is asked about: SeerAttention's rules
// (arXiv:2410.13276 section 3; models/DESIGN.md, chapter 2, points 5 to 7) and one of ours. This is the only
// place that says what a rule means: devices and page reuse ask it, and gates' files hold one. Rows are block
// rows of the whole prompt, whatever the chunk, from 0: row b has b + 1 causal blocks.
struct SelectRule {
  enum class Method {
    kThreshold,   // blocks whose softmaxed score is above `value`
    kNzRatio,     // the best k of a row, the same k in all rows, which make `value` of all causal blocks
    kNzRatioRow,  // the best k of a row, `value` of its own causal blocks: of all causal ones as many
  };
  static constexpr int64_t kDenseRows = 2;  // of last_block_dense

  Method method = Method::kThreshold;
  double value = 0.0;
  bool last_block_dense = true;  // the last kDenseRows rows of the prompt keep every causal block
  int64_t n_prompt_blocks = 0;   // of the whole prompt

  // A threshold is compared with softmaxed scores, the others rank raw ones.
  SEER_HOST_DEVICE constexpr bool by_threshold() const { return method == Method::kThreshold; }
  // A row's choice depends on the prompt's length beyond the row, not only because the last rows are dense.
  constexpr bool depends_on_length() const { return method == Method::kNzRatio; }
  SEER_HOST_DEVICE constexpr bool row_is_dense(int64_t row) const {
    return last_block_dense && row >= n_prompt_blocks - kDenseRows;
  }
  // The rows before the dense ones.
  constexpr int64_t n_sparse_rows() const {
    const int64_t n = n_prompt_blocks - (last_block_dense ? kDenseRows : 0);
    return n < 0 ? 0 : n;
  }
  // Not for a threshold. With k = c n in each row of n blocks the kept area is n^2 (c - c^2 / 2), and `value`
  // of the causal triangle's for c = 1 - sqrt(1 - value); k = c (b + 1) in row b has the same area for
  // c = value.
  KeptCount kept_count() const {
    if (method == Method::kNzRatioRow) return {value, 0};
    return {1.0 - std::sqrt(1.0 - value), n_prompt_blocks};
  }
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
