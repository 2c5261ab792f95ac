// SeerAttention-R's gate for decoding (Gao et al., 2025, arXiv:2506.08889): its weights, the rule by which a
// decoded token keeps key blocks, and the rotations that gate keys need.
#pragma once

#include <cstdint>

#include "kernels/block_mask.h"
#include "kernels/host_device.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace seer {

// The weights and the shape of one layer's decode gate. A gate has one query and one key for each KV head.
struct DecodeGateView {
  GatePools k_pools;
  Tensor linear_q;  // [n_kv_heads, n * d_head, d_gate], n = group: every query head has a matrix, and their
                    // products are summed; n = 1: the mean of the heads is multiplied; empty: the mean itself
  Tensor linear_k;  // [n_kv_heads, n_k_pools * d_head, d_gate]
  Tensor q_norm, k_norm;  // [d_gate], RMS norms with kEpsilon; empty if the gate has none
  bool rotates = true;    // gate queries and gate keys get RoPE

  static constexpr float kEpsilon = 1e-6F;
  int64_t d_gate() const { return linear_k.dim(2); }
  int64_t n_kv_heads() const { return linear_k.dim(0); }
};

// The rotations of key blocks. Pages hold keys after RoPE, but a gate key is made of keys before RoPE, so
// their rotations are taken back. The rotation of the j-th key of a block is the product of the block's row
// of `first` and row j of `within`.
struct BlockRopes {
  // A row for every block row of the step's prefill segments, in their order, and then one for every decode:
  // the rotation of the first position of the block, multiplied by the model's attention scaling s. A
  // decode's block is the one that its token is in.
  RopeTable first;
  RopeTable within;  // [page_tokens rows]: the rotation of position j, divided by s * s
};

}  // namespace seer
