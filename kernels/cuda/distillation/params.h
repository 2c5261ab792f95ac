// Ground truth for the training of gates, made of the maxima of blocks and the logarithms of rows' sums that
// attention/block_maxima writes. A block's largest probability in a row is exp(maximum - log sum). See
// DESIGN.md in this folder.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/distillation.h"

namespace seer::cuda {

// What launch_block_maxima_...() wrote for a segment of n_tokens from position `start` on.
struct RowMaxima {
  const float* maxima;    // [n_heads, n_tokens, row_capacity], at least the blocks up to the segment's end
  const float* log_sums;  // [n_heads, n_tokens]
  int64_t row_capacity;
  int64_t n_tokens;
  int64_t start;  // a multiple of page_tokens
  int n_heads;
  int page_tokens;  // of a block: 16, 32, 64 or 128
};

// For prefill gates: for every scored row, which is a block of queries, and every block of keys, the largest
// probability among the tokens of the block of queries, divided by the sum over the blocks that the row sees.
// The result is 0 after these blocks. Rows whose tokens are not in the segment are left as they are.
struct PrefillTruthParams {
  float* out;  // [n_heads, scored.n, n_blocks]
  RowMaxima rows;
  ScoredRows scored;  // positions are blocks of the whole sequence
  int64_t n_blocks;   // at least as many as the last of the rows sees
};
cudaError_t launch_prefill_truth(const PrefillTruthParams& params, cudaStream_t stream);

// For decode gates: for every scored row, which is a token, and block of keys before the row's own, the
// largest probability among the query heads of a KV head, divided by the sum over the blocks. The result is 0
// from the row's own block on, so a row of the first block gets 0 everywhere. Rows whose tokens are not in
// the segment are left as they are.
struct DecodeTruthParams {
  float* out;  // [n_kv_heads, scored.n, n_blocks]
  RowMaxima rows;
  ScoredRows scored;  // positions are tokens of the whole sequence
  int64_t n_blocks;   // at least as many as the last of the rows sees
  int n_kv_heads;
};
cudaError_t launch_decode_truth(const DecodeTruthParams& params, cudaStream_t stream);

}  // namespace seer::cuda
