// Attention for a rank that has every page of the heads it computes.
#pragma once

#include "models/attention.h"

namespace seer {

class WholeAttention final : public Attention {
 public:
  explicit WholeAttention(const AttentionContext& context) : Attention(context, context.comm) {}

  const DecoderStep& begin(const DecoderStep& step) override;
  void run(int64_t l) override;
  std::vector<DecoderStats> count() override;

 private:
  void attend_decodes(int64_t l, const PagedKv& kv);
  // Returns the blocks that the gates of layer `l` choose for prefill segment `i`, whose block rows begin at
  // first_row.
  BlockMask select(int64_t l, const PagedKv& kv, size_t i, int64_t first_row);

  const DecoderStep* step_ = nullptr;
};

}  // namespace seer
