// The key blocks that attention reads: lists of kept blocks, the rules by which gates keep them, and the
// weights of gates for prompts.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/host_device.h"
#include "kernels/tensor.h"

namespace seer {

// Says which key blocks each row of each head attends to, as compact lists. For a prefill, heads are query
// heads, and rows are the query blocks of one segment. For decoding, heads are KV heads, and each of the
// step's decodes is a row. The blocks of a row are in ascending order, and all are causal.
struct BlockMask {
  Tensor counts;  // i32 [n_heads, n_rows]: how many blocks a row keeps, at least 1
  Tensor blocks;  // i32 [n_heads, n_rows, row_capacity]: the first counts[h, r] entries of a row are valid

  int64_t n_heads() const { return counts.dim(0); }
  int64_t n_rows() const { return counts.dim(1); }
  int64_t row_capacity() const { return blocks.dim(2); }
};

// Says how many blocks a row keeps under a rule that keeps the best ones. It is a share of the whole prompt's
// blocks, which is the same number in every row, or a share of the row's own causal blocks.
struct KeptCount {
  double share = 0.0;
  int64_t n_blocks = 0;  // the share is taken of these; 0 means of the row's causal blocks

  // Returns the number for a row with n_causal causal blocks. It is at least 1. If it is more than n_causal,
  // the row keeps all n_causal blocks.
  SEER_HOST_DEVICE constexpr int64_t of_row(int64_t n_causal) const {
    const auto k = static_cast<int64_t>(share * static_cast<double>(n_blocks > 0 ? n_blocks : n_causal));
    return k < 1 ? 1 : k;
  }
};

// Says which blocks a gate keeps, for the rows of one prompt: by the rules of SeerAttention (arXiv:2410.13276
// section 3; models/DESIGN.md, chapter 2, points 5 to 7), or by kHeadThreshold or kNzRatioRow, which are not
// in the paper. Only this struct says what a rule means: the devices and the reuse of pages ask it, and
// GateConfig has the rule that a gate's file gives. Rows are block rows of the whole prompt, counted from 0
// in every chunk: row b has b + 1 causal blocks.
struct SelectRule {
  enum class Method {
    kThreshold,      // keeps blocks whose softmaxed score is above `value`
    kHeadThreshold,  // keeps blocks whose softmaxed score is above `value` times the factor of the head
    kNzRatio,        // keeps the best k of each row, one k for all rows: `value` of all causal blocks
    kNzRatioRow,     // keeps the best k of each row: `value` of the row's own causal blocks
  };
  static constexpr int64_t kDenseRows = 2;  // how many last rows last_block_dense makes dense

  Method method = Method::kThreshold;
  double value = 0.0;
  bool last_block_dense = true;  // the last kDenseRows rows of the prompt keep every causal block
  int64_t n_prompt_blocks = 0;   // of the whole prompt
  // The factors of a layer's heads, float32 in the memory of the device that selects. AttnGate sets it for
  // each layer; only kHeadThreshold reads it.
  const float* head_factors = nullptr;

  // Returns whether the rule compares softmaxed scores with a threshold. The other rules rank raw scores.
  SEER_HOST_DEVICE constexpr bool by_threshold() const {
    return method == Method::kThreshold || method == Method::kHeadThreshold;
  }
  // Returns the threshold of a query head. The rule must compare with one.
  SEER_HOST_DEVICE float threshold_of(int64_t head) const {
    const auto threshold = static_cast<float>(value);
    return method == Method::kHeadThreshold ? threshold * head_factors[head] : threshold;
  }
  // Returns whether the choice of every row depends on the prompt's length. (With last_block_dense the last
  // rows depend on it under any rule.)
  constexpr bool depends_on_length() const { return method == Method::kNzRatio; }
  // Returns whether a row keeps every causal block.
  SEER_HOST_DEVICE constexpr bool row_is_dense(int64_t row) const {
    return last_block_dense && row >= n_prompt_blocks - kDenseRows;
  }
  // Returns the number of rows before the dense ones.
  constexpr int64_t n_sparse_rows() const {
    const int64_t n = n_prompt_blocks - (last_block_dense ? kDenseRows : 0);
    return n < 0 ? 0 : n;
  }
  // Returns how many blocks a row keeps. The rule must not be a threshold. With k = c n in each row of n
  // blocks, the kept area is n^2 (c - c^2 / 2). That is `value` of the causal triangle's area if
  // c = 1 - sqrt(1 - value). With k = c (b + 1) in row b, the kept area is the same if c = value.
  KeptCount kept_count() const {
    if (method == Method::kNzRatioRow) return {value, 0};
    return {1.0 - std::sqrt(1.0 - value), n_prompt_blocks};
  }
};

// Says which key blocks a decoded token attends to, for each KV head: by the rules of SeerAttention-R
// (arXiv:2506.08889, section 3; models/DESIGN.md, chapter 6), or by kRatio, which is not in the paper. A
// token with n - 1 earlier blocks has n causal blocks, its own among them. The first block and the token's
// own block are always kept, besides those that the rule keeps.
struct DecodeRule {
  enum class Method : int32_t {
    kDense,      // keeps every causal block
    kThreshold,  // keeps blocks whose softmaxed score is above `value`
    kBudget,     // keeps the best k = int(value / page_tokens) blocks: `value` is a number of tokens
    kRatio,      // keeps the best k = max(1, int(value * n)) of n causal blocks
  };
  Method method = Method::kDense;
  double value = 0.0;

  bool dense() const { return method == Method::kDense; }
  // Returns how many of n causal blocks, the best ones, the rule keeps; n if it keeps all of them. The rule
  // must not be a threshold.
  int64_t n_best(int64_t n, int64_t page_tokens) const {
    if (method == Method::kDense) return n;
    const int64_t k = method == Method::kBudget ? static_cast<int64_t>(value) / page_tokens
                                                : static_cast<int64_t>(value * static_cast<double>(n));
    if (method == Method::kRatio && k < 1) return 1;
    return k < n ? k : n;
  }
  friend bool operator==(const DecodeRule&, const DecodeRule&) = default;
};

// The pools of one side of a gate. They are concatenated in the order max, min, avg.
struct GatePools {
  bool max = false, min = false, avg = false;
  int count() const { return int{max} + int{min} + int{avg}; }
};

// The weights and the shape of one layer's gate.
struct GateView {
  using Pools = GatePools;
  Pools q_pools, k_pools;
  Tensor linear_q;  // [n_heads, n_q_pools * d_head, d_gate]; if empty, pooled queries are used as they are
  Tensor linear_k;  // [n_gate_heads, n_k_pools * d_head, d_gate]
  int64_t d_gate() const { return linear_k.dim(2); }
  int64_t n_gate_heads() const { return linear_k.dim(0); }
};

}  // namespace seer
