// Dense causal prefill attention that also writes, for every query and block of keys, the largest score, and
// for every query the logarithm of its sum of exponentials. The largest probability of the block is
// exp(maximum - log sum). From both, kernels/cuda/distillation makes the ground truth of gates.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/attention/prefill_sm80/params.h"
#include "kernels/cuda/attention/prefill_sm90/params.h"

namespace seer::cuda {

// The maxima of this many blocks of a row are written together: they fill a sector of 32 bytes.
inline constexpr int64_t kMaximaOfSector = 8;

// The smallest row_capacity for rows of n_blocks.
inline int64_t maxima_row_capacity(int64_t n_blocks) {
  return (n_blocks + kMaximaOfSector - 1) / kMaximaOfSector * kMaximaOfSector;
}

// Scores are scaled by 1 / sqrt(d_head), and logarithms are natural. Rows are the segment's tokens; rows
// before the params' first_token are not written. A block has the tokens of a page.
struct BlockMaxima {
  // [n_heads, n_tokens of the segment, row_capacity], at a multiple of 32 bytes. Defined up to the row's own
  // block, in which only the keys up to the row's own token count. What follows up to row_capacity is
  // undefined.
  float* maxima;
  float* log_sums;       // [n_heads, n_tokens of the segment]
  int64_t row_capacity;  // a multiple of kMaximaOfSector, at least the blocks up to the segment's end
};

// Returns whether the capacity is enough for `end` tokens.
inline bool fits(const BlockMaxima& out, int64_t end, int64_t page_tokens) {
  return out.row_capacity % kMaximaOfSector == 0 && out.row_capacity * page_tokens >= end;
}

// The output has the same bits as that of launch_prefill_sm80() or launch_prefill_sm90(), with one exception.
// If there are few query blocks, launch_prefill_sm90() loads queries in another way (see its launcher). The
// last rows of a prompt that ends inside a block may then be rounded differently. The functions take the same
// shapes, without a mask. They return cudaErrorInvalidValue for a mask or a capacity that does not fit, or
// the launch's error.
cudaError_t launch_block_maxima_sm90(const PrefillSm90Params& params, const TileMaps& maps,
                                     const BlockMaxima& out, int n_multiprocessors, cudaStream_t stream);
cudaError_t launch_block_maxima_sm80(const PrefillSm80Params& params, const BlockMaxima& out,
                                     cudaStream_t stream);

}  // namespace seer::cuda
