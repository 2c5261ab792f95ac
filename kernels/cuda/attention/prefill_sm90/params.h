// Causal prefill attention on Hopper (sm_90a), over all blocks or over the kept blocks of each query block
// and head. The bulk tensor copy engine brings tiles of keys and values straight from the pages, and wgmma
// multiplies them. DESIGN.md in this folder explains the schedule.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace seer::cuda {

struct PrefillSm90Params {
  void* out;                  // bf16 [n_tokens of the step, n_heads, d_head]; rows of the segment
  const void* q;              // bf16, as out
  const int32_t* page_table;  // device: block index to page id
  const int32_t* counts;      // [n_heads, n_mask_rows], or null: every causal block
  const int32_t* blocks;      // [n_heads, n_mask_rows, row_capacity]
  int32_t* next_item;         // scratch, the schedule's counter: zero before and after every launch
  int64_t row;                // the segment's first row of out and q
  int64_t start;              // its first position, a multiple of 64
  int64_t n_tokens;
  int64_t first_token;  // of the segment, a multiple of 64; earlier tokens are not computed
  int64_t row_capacity;
  int n_mask_rows;
  int n_heads, n_kv_heads, d_head;
  float scale;
};

// Descriptions of pages and queries for the copy engine.
struct TileMaps {
  CUtensorMap k, v, q;
};
// Returns false if the driver refuses. k, v: bf16 [n_pages, n_kv_heads, 64, d_head]. Of `params`, only q and
// its shape matter; q has n_rows rows.
bool make_tile_maps(TileMaps* maps, const PrefillSm90Params& params, const void* k, const void* v,
                    int64_t n_pages, int64_t n_rows);

// d_head must be 64 or 128, and pages must have 64 tokens. Returns the launch's error.
cudaError_t launch_prefill_sm90(const PrefillSm90Params& params, const TileMaps& maps, int n_multiprocessors,
                                cudaStream_t stream);

}  // namespace seer::cuda
