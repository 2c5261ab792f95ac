// Causal prefill attention over KV pages with mma.sync, for every GPU from sm_80 on: over all blocks, or over
// the kept blocks of each query block and head.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace seer::cuda {

struct PrefillSm80Params {
  void* out;      // bf16 [n_tokens of the step, n_heads, d_head]; rows of the segment
  const void* q;  // bf16, as out
  const void* k;  // bf16 [n_pages, n_kv_heads, page_tokens, d_head]
  const void* v;
  const int32_t* page_table;  // device: block index to page id
  const int32_t* counts;      // [n_heads, n_mask_rows], or null: every causal block
  const int32_t* blocks;      // [n_heads, n_mask_rows, row_capacity]
  int64_t row;                // the segment's first row of out and q
  int64_t start;              // its first position, a multiple of page_tokens
  int64_t n_tokens;
  int64_t first_token;  // of the segment, a multiple of page_tokens; earlier tokens are not computed
  int64_t row_capacity;
  int n_mask_rows;
  int n_heads, n_kv_heads, d_head;
  int page_tokens;  // 16, 32, 64 or 128
  float scale;
};

// d_head must be 32, 64, 96, 128 or 256. Returns the launch's error.
cudaError_t launch_prefill_sm80(const PrefillSm80Params& params, cudaStream_t stream);

}  // namespace seer::cuda
