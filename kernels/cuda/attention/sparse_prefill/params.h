// Causal prefill attention on Hopper (sm_90a): tiles of keys and values by the bulk tensor copy engine
// straight from the pages, products by wgmma. Over all blocks, or over the kept blocks of each query block
// and head. DESIGN.md beside this file explains the schedule.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace seer::cuda {

struct WgmmaPrefillParams {
  void* out;                  // bf16 [n_tokens of the step, n_heads, d_head]; rows of the segment
  const void* q;              // bf16, as out
  const int32_t* page_table;  // device: block index to page id
  const int32_t* counts;      // [n_heads, n_mask_rows], or null: every causal block
  const int32_t* blocks;      // [n_heads, n_mask_rows, row_capacity]
  int32_t* next_item;  // scratch, one, the schedule's counter: zero, and zero again behind every launch
  int64_t row;         // the segment's first row of out and q
  int64_t start;       // its first position, a multiple of 64
  int64_t n_tokens;
  int64_t first_token;  // of the segment; earlier ones are left out; a multiple of 64
  int64_t row_capacity;
  int n_mask_rows;
  int n_heads, n_kv_heads, d_head;
  float scale;
};

// What pages and queries look like to the copy engine.
struct TileMaps {
  CUtensorMap k, v, q;
};
// k, v: bf16 [n_pages, n_kv_heads, 64, d_head]; of `params`, only q and its shape matter, and q has n_rows
// rows. False where the driver refuses.
bool make_tile_maps(TileMaps* maps, const WgmmaPrefillParams& params, const void* k, const void* v,
                    int64_t n_pages, int64_t n_rows);

// d_head 64 or 128, pages of 64 tokens. Returns the launch's error.
cudaError_t launch_wgmma_prefill(const WgmmaPrefillParams& params, const TileMaps& maps,
                                 int n_multiprocessors, cudaStream_t stream);

}  // namespace seer::cuda
