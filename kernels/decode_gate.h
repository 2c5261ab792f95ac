// SeerAttention-R's gate for decoding (Gao et al., 2025, arXiv:2506.08889): its weights, and the rotations
// that gate keys need. DecodeRule (block_mask.h) says which key blocks a decoded token keeps.
#pragma once

#include <cstdint>

#include "kernels/block_mask.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace seer {

// The weights and the shape of one layer's decode gate. A gate has one query and one key for each KV head.
struct DecodeGateView {
  GatePools k_pools;
  // [n_kv_heads, n * d_head, d_gate]. If n is the number of query heads of a KV head, each of them has a
  // matrix, and the products are summed. If n is 1, the mean of these heads is multiplied. If the tensor is
  // empty, the mean itself is the gate query.
  Tensor linear_q;
  Tensor linear_k;        // [n_kv_heads, n_k_pools * d_head, d_gate]
  Tensor q_norm, k_norm;  // [d_gate], RMS norms with kEpsilon; empty if the gate has none
  bool rotates = true;    // gate queries and gate keys get RoPE

  static constexpr float kEpsilon = 1e-6F;
  int64_t d_gate() const { return linear_k.dim(2); }
  int64_t n_kv_heads() const { return linear_k.dim(0); }
};

// The rotations of key blocks. Pages hold keys after RoPE, but a gate key is made of keys before RoPE, so
// the operation that makes it takes their rotations back. The rotation of the j-th key of a block, counted
// from 0, is the product of the block's row of `first` and row j of `within`.
struct BlockRopes {
  // There is a row for every block row of the step's prefill segments, in their order, and then one for every
  // decode, whose block is the one that its token is in. A row is the rotation of the block's first position,
  // multiplied by the model's attention scaling s.
  RopeTable first;
  // [page_tokens, d_head / 2]: row j is the rotation of position j, divided by s * s. The product of both
  // rows then has the factor 1 / s, so the opposite rotation also removes the s by which the keys were
  // multiplied.
  RopeTable within;
};

}  // namespace seer
