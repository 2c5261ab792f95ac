// SeerAttention's gate on the GPU: rotation of projected gate queries and keys, scores, and the choice of key
// blocks.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/block_mask.h"

namespace seer::cuda {

// Rotates n_rows rows of heads and rounds them to bf16, to `out` by rows, or to the pages table[first_block +
// row].
struct GateRotateParams {
  void* out;            // bf16 [n_rows or n_pages, n_heads, d_gate]
  const float* in_f32;  // [n_rows, n_heads, d_gate], or
  const void* in_bf16;  // the same
  const float* cos;     // [n_rows, half]
  const float* sin;
  const int32_t* table;  // device; null: rows
  int64_t first_block;
  int64_t n_rows;
  int n_heads, d_gate, half;
};
cudaError_t launch_gate_rotate(const GateRotateParams& params, cudaStream_t stream);

struct GateSelectParams {
  int32_t* counts;       // [n_heads, n_rows]
  int32_t* blocks;       // [n_heads, n_rows, row_capacity]
  float* scores;         // [n_heads, n_rows, n_prompt_blocks] or null
  const void* gate_q;    // bf16 [n_rows, n_heads, d_gate]
  const void* gate_k;    // bf16 [n_pages, n_gate_heads, d_gate]
  const int32_t* table;  // device: block index to page id
  int64_t first_block;   // of row 0
  int64_t n_rows, row_capacity;
  int n_heads, n_gate_heads, d_gate;
  SelectRule rule;
};
// d_gate 64, 96, 128 or 256; at most gate_max_blocks() blocks a row.
cudaError_t launch_gate_select(const GateSelectParams& params, cudaStream_t stream);
int64_t gate_max_blocks();

}  // namespace seer::cuda
