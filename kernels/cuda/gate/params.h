// SeerAttention's gate on the GPU: projection and rotation of pooled queries and keys, scores, and the choice
// of key blocks. See DESIGN.md in this folder.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/block_mask.h"

namespace seer::cuda {

// Computes gate keys and gate queries of n_rows consecutive blocks of one sequence: one product for each
// head, then RoPE at the block's position on the first 2 * half channels, then rounding to bf16.
struct GateProjectParams {
  struct Side {
    void* out;            // bf16 [n_pages, n_out, d_gate] for keys, [n_rows, n_out, d_gate] for queries
    const void* in;       // bf16 [n_rows, n_in, d_in]; output head h reads head h / (n_out / n_in)
    const void* weights;  // bf16 [n_out, d_in, d_gate]; null (queries only): d_in = d_gate, only rotation
    int n_out, n_in, d_in;
  };
  Side k, q;
  const float* cos;  // [n_rows, half]
  const float* sin;
  const int32_t* table;  // device: block index to page id
  int64_t first_block;   // of row 0
  int64_t n_rows;
  int d_gate, half;
};
// d_gate must be 64, 96, 128 or 256; d_in a multiple of 32, at most 768; half a multiple of 8, at most d_gate
// / 2.
cudaError_t launch_gate_project(const GateProjectParams& params, cudaStream_t stream);

struct GateSelectParams {
  int32_t* counts;       // [n_heads, n_rows]
  int32_t* blocks;       // [n_heads, n_rows, row_capacity], ascending
  float* scores;         // [n_heads, n_rows, n_prompt_blocks] or null
  const void* gate_q;    // bf16 [n_rows, n_heads, d_gate]
  const void* gate_k;    // bf16 [n_pages, n_gate_heads, d_gate]
  const int32_t* table;  // device: block index to page id
  int64_t first_block;   // of row 0
  int64_t n_rows, row_capacity;
  int n_heads, n_gate_heads, d_gate;
  SelectRule rule;
};
// d_gate must be 64, 96, 128 or 256, and a row may have at most gate_max_blocks() blocks.
cudaError_t launch_gate_select(const GateSelectParams& params, int n_multiprocessors, int max_shared_bytes,
                               cudaStream_t stream);
int64_t gate_max_blocks(int max_shared_bytes);

// marks[j] = 1 for every block j in any of the n_lists lists; the others stay as they are. counts [n_lists],
// blocks [n_lists, row_capacity].
cudaError_t launch_gate_mark(float* marks, const int32_t* counts, const int32_t* blocks, int64_t n_lists,
                             int64_t row_capacity, cudaStream_t stream);

}  // namespace seer::cuda
