// Norms of heads, RoPE, the append of keys and values to their pages, and the pooling of a gate's blocks, in
// one pass over q, k and v.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/block_mask.h"

namespace seer::cuda {

inline constexpr int kMaxHalfHead = 128;  // pairs of a head of 256

// Writes cos and sin [n_rows, half] for position start + i * stride in row i. If positions (device) are
// given, row i is for positions[i], rounded down to a multiple of `stride`. Angles are computed in float64,
// because in float32 they are off by 0.06 at position 10^6.
struct RopeTableParams {
  float* cos;
  float* sin;
  const int32_t* positions;
  int64_t start, stride;
  int64_t n_rows;
  int half;
  double scaling;
  double inv_freq[kMaxHalfHead];
};
cudaError_t launch_rope_table(const RopeTableParams& params, cudaStream_t stream);

struct KvAppendParams {
  void* q;  // bf16 [n_tokens, n_heads, d_head], rotated; begins at the segment's first row
  void* k;  // bf16 [n_pages, n_kv_heads, page_tokens, d_head]
  void* v;
  const void* qkv;   // bf16 [n_tokens, (n_heads + 2 n_kv_heads) * d_head]; begins at the same row
  const float* cos;  // [n_tokens, d_head / 2]; begins at the same row
  const float* sin;
  int n_heads, n_kv_heads, d_head;
  int page_tokens;  // at most 128
};

// RMS norms over d_head of every query head and of every key head, before pooling and RoPE. Both weights are
// null if the model has none.
struct HeadNormParams {
  const void* q;  // bf16 [d_head]
  const void* k;
  float eps;
};

// Appends a prefill segment that begins at position start, a multiple of page_tokens. pooled_q [n_rows,
// n_heads, n_pools * d_head] and pooled_k [n_rows, n_kv_heads, n_pools * d_head], bf16, get the pools of each
// block, taken before RoPE, unless they are null.
struct PrefillAppendParams {
  KvAppendParams common;
  const int32_t* page_table;  // device
  int64_t start, n_tokens;
  GatePools q_pools, k_pools;
  void* pooled_q;
  void* pooled_k;
};
cudaError_t launch_prefill_append(const PrefillAppendParams& params, const HeadNormParams& norms,
                                  cudaStream_t stream);

// Appends one token of each of n sequences. If a token's page is -1, only its query is rotated, and nothing
// is stored.
struct DecodeAppendParams {
  KvAppendParams common;
  const int32_t* positions;      // device [n]
  const int32_t* tables;         // device
  const int32_t* table_offsets;  // device [n]
  int n;
};
cudaError_t launch_decode_append(const DecodeAppendParams& params, const HeadNormParams& norms,
                                 cudaStream_t stream);

}  // namespace seer::cuda
