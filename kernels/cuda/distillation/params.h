// Ground truth for the training of gates, made of the maxima of blocks and the logarithms of rows' sums that
// attention/block_maxima writes. A block's largest probability in a row is exp(maximum - log sum). See
// DESIGN.md in this folder.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace seer::cuda {

// What launch_block_maxima_...() wrote for a segment of n_tokens from position `start` on.
struct RowMaxima {
  const float* maxima;    // [n_heads, n_tokens, row_capacity]
  const float* log_sums;  // [n_heads, n_tokens]
  int64_t row_capacity;
  int64_t n_tokens;
  int64_t start;  // a multiple of page_tokens
  int n_heads;
  int page_tokens;  // of a block: 16, 32, 64 or 128
};

// For prefill gates: for every block of queries and block of keys, the largest probability among the rows of
// the block of queries, divided by the sum over the blocks of keys. The result is 0 after the diagonal.
struct PrefillTruthParams {
  float* out;  // [n_heads, query blocks of the segment, n_blocks]
  RowMaxima rows;
  int64_t n_blocks;  // at least the blocks up to the segment's end
};
cudaError_t launch_prefill_truth(const PrefillTruthParams& params, cudaStream_t stream);

// For decode gates: for every chosen row and block of keys before the row's own, the largest probability
// among the query heads of a KV head, divided by the sum over the blocks. The result is 0 from the row's own
// block on, so a row of the first block gets 0 everywhere.
struct DecodeTruthParams {
  float* out;  // [n_kv_heads, n_chosen, n_blocks]
  RowMaxima rows;
  const int32_t* chosen;  // device, [n_chosen]: tokens of the segment
  int64_t n_chosen;
  int64_t n_blocks;  // at least the blocks before that of the segment's last token
  int n_kv_heads;
};
cudaError_t launch_decode_truth(const DecodeTruthParams& params, cudaStream_t stream);

}  // namespace seer::cuda
