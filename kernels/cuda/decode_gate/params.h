// SeerAttention-R's gate for decoding on the GPU: keys of full pages, and the choice of pages for each
// decoded token and KV head. See DESIGN.md in this folder.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/block_mask.h"

namespace seer::cuda {

// Makes the gate keys of pages from the keys that lie in them: takes RoPE back, pools, multiplies,
// normalises, rotates to the page's first position, and rounds to bf16.
struct DecodeGateKeyParams {
  void* gate_k;            // bf16 [n_pages, n_kv_heads, d_head]
  const void* k;           // bf16 [n_pages, n_kv_heads, page_tokens, d_head]
  const void* weights;     // bf16 [n_kv_heads, n_pools * d_head, d_head]
  const void* norm;        // bf16 [d_head]; null: no norm
  const float* first_cos;  // [rows, d_head / 2]: BlockRopes::first, from the first page's row on
  const float* first_sin;
  const float* within_cos;  // [page_tokens, d_head / 2]: BlockRopes::within
  const float* within_sin;
  // If there are no positions, page i is tables[i]. Otherwise it is the page of decode i's new token if that
  // token fills it, and no page if it does not.
  const int32_t* tables;         // device
  const int32_t* positions;      // device [n_pages]; null for the consecutive pages of a prompt
  const int32_t* table_offsets;  // device [n_pages], with positions
  int64_t n_pages;
  int n_kv_heads, d_head, page_tokens;
  GatePools pools;
  bool rotates;
};
// d_head must be 64, 96, 128 or 256, and page_tokens 16, 32 or 64.
cudaError_t launch_decode_gate_keys(const DecodeGateKeyParams& params, cudaStream_t stream);

// The rule of one decode, as the device gets it. n_best says how many blocks it keeps as the best ones, or
// that it keeps all (kAll), or that it keeps those whose softmaxed score is above `threshold` (kThreshold).
struct DecodeGateRule {
  static constexpr int32_t kAll = -1, kThreshold = -2;
  int32_t n_best;  // 0 or more, or kAll, or kThreshold
  float threshold;
};

// Makes the gate query of each decode and KV head from its query heads, scores the keys of all full pages
// with it, and lists the pages that the decode's rule keeps.
struct DecodeGateSelectParams {
  int32_t* counts;      // [n_kv_heads, n_decodes]
  int32_t* blocks;      // [n_kv_heads, n_decodes, capacity], ascending
  float* scores;        // [n_kv_heads, n_decodes, capacity] or null
  const void* qkv;      // bf16 [n_decodes, (n_heads + 2 n_kv_heads) * d_head], from the first decode's row on
  const void* gate_k;   // bf16 [n_pages, n_kv_heads, d_head]
  const void* weights;  // bf16 [n_kv_heads, n_inputs, d_head]; null if n_inputs is 0
  const void* head_norm;  // bf16 [d_head], of query heads; null: none
  const void* norm;       // bf16 [d_head], of gate queries; null: none
  float head_eps;
  const float* cos;  // [n_decodes, d_head / 2]: rotations of the tokens
  const float* sin;
  const int32_t* positions;      // device [n_decodes]
  const int32_t* tables;         // device
  const int32_t* table_offsets;  // device [n_decodes]
  const DecodeGateRule* rules;   // device [n_decodes]
  int64_t capacity;
  int n_decodes, n_heads, n_kv_heads, d_head, page_tokens;
  int n_inputs;  // of weights: d_head for each head of a group, d_head for the heads' mean, or 0
  bool rotates;
  int64_t longest;  // keys of the longest of the decodes, rounded up to a power of two
};
// d_head must be 64, 96, 128 or 256, and capacity at most decode_gate_max_blocks().
cudaError_t launch_decode_gate_select(const DecodeGateSelectParams& params, int n_multiprocessors,
                                      bool has_clusters, cudaStream_t stream);
// For pages that ranks divide. Writes the scores before the softmax of the pages that are here, and 0 for all
// other blocks of a row: those whose pages are -1 in the tables, and those that have no gate key. The row of
// a dense decode is 0 everywhere. params.counts and params.blocks are not used.
cudaError_t launch_decode_gate_scores(const DecodeGateSelectParams& params, int n_multiprocessors,
                                      bool has_clusters, cudaStream_t stream);

// Lists the pages that each decode's rule keeps by the given scores, and softmaxes the scores in place. Rows
// of scores of dense decodes are not read, and not written.
struct DecodeGateKeepParams {
  int32_t* counts;              // [n_kv_heads, n_decodes]
  int32_t* blocks;              // [n_kv_heads, n_decodes, capacity], ascending
  float* scores;                // [n_kv_heads, n_decodes, capacity]
  const int32_t* positions;     // device [n_decodes]
  const DecodeGateRule* rules;  // device [n_decodes]
  int64_t capacity;             // at most decode_gate_max_blocks()
  int n_decodes, n_kv_heads, page_tokens;
};
cudaError_t launch_decode_gate_keep(const DecodeGateKeepParams& params, cudaStream_t stream);

// Returns the longest row of scores, in blocks, for which a thread block has enough shared memory.
int64_t decode_gate_max_blocks(int max_shared_bytes, int d_head, int group);

}  // namespace seer::cuda
