// The operations of Backend by which gates choose blocks for decodes whose pages are divided among ranks.
#pragma once

#include "kernels/block_mask.h"
#include "kernels/decode_gate.h"
#include "kernels/paged_kv.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace seer {

// Each rank scores the blocks whose pages it has, then the ranks add up their scores, and then each rank
// keeps the blocks that a single rank with all pages would keep. Blocks are numbered as in the whole
// sequence. In the page tables of the step's decodes, a page of another rank is -1.
class DividedDecodes {
 public:
  // Writes the scores of blocks whose pages are here, as Backend::select_decode_blocks() computes them, but
  // before the softmax. All other elements get 0, and so do all rows of dense decodes. The sum over ranks
  // then has the scores of all blocks: only one rank has the page of a full block, and an open block's score
  // is 0.
  virtual void score_decode_blocks(const Tensor& scores,  // f32 [n_kv_heads, n_decodes, capacity]
                                   const Tensor& qkv, const HeadNorms& norms, const RopeTable& rope,
                                   const PagedKv& kv, const DecodeGateView& gate) = 0;
  // Keeps blocks of each of the step's decodes by its rule, as Backend::select_decode_blocks() does. For
  // decodes that are not dense, `scores` must have the scores of all blocks, added up over ranks; they are
  // softmaxed in place.
  virtual void keep_decode_blocks(const BlockMask& mask, const Tensor& scores, int64_t page_tokens) = 0;
  // Does what Backend::decode_attention_part() does, over the kept blocks whose pages are here. `room` is
  // scratch with the shapes of `mask`, in which a device may list the blocks whose pages are here.
  virtual void masked_attention_part(const Tensor& part, const Tensor& q, const PagedKv& kv,
                                     const BlockMask& mask, const BlockMask& room) = 0;

 protected:
  ~DividedDecodes() = default;
};

}  // namespace seer
