// The operations by which gates choose blocks for decodes whose pages are divided among ranks. They are an
// interface of their own, because a device may have all other operations without them
// (Backend::divided_decodes()).
#pragma once

#include "kernels/block_mask.h"
#include "kernels/decode_gate.h"
#include "kernels/paged_kv.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace seer {

// Every rank scores the blocks that it has, ranks add up their scores, and each of them keeps what one rank
// would keep. Blocks are numbered as in the whole sequence. A page of another rank is -1 in the tables of the
// step's decodes.
class DividedDecodes {
 public:
  // Writes the scores of blocks whose pages are here, as Backend::select_decode_blocks() computes them, but
  // before the softmax. All other elements get 0. So the sum over ranks has the scores of all blocks, because
  // an open block's score is 0. Rows of dense decodes are 0.
  virtual void score_decode_blocks(const Tensor& scores,  // f32 [n_kv_heads, n_decodes, capacity]
                                   const Tensor& qkv, const HeadNorms& norms, const RopeTable& rope,
                                   const PagedKv& kv, const DecodeGateView& gate) = 0;
  // Keeps blocks of each of the step's decodes by its rule, as Backend::select_decode_blocks() does. The
  // scores of decodes that are not dense are those of all blocks, and become softmaxed.
  virtual void keep_decode_blocks(const BlockMask& mask, const Tensor& scores, int64_t page_tokens) = 0;
  // Does the same as Backend::decode_attention_part(), over the kept blocks whose pages are here.
  virtual void masked_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv,
                                     const BlockMask& mask) = 0;

 protected:
  ~DividedDecodes() = default;
};

}  // namespace seer
