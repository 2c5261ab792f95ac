// Attention where the pages of a sequence are divided among ranks: pages of other ranks are brought together
// for prefills, and the results of all ranks are merged for decodes.
#pragma once

#include "models/attention.h"

namespace seer {

class DividedAttention final : public Attention {
 public:
  // Each rank's gates see all heads of its rows, so reports are gathered by ContextParallel and not by the
  // gates.
  DividedAttention(const AttentionContext& context, ContextParallel* ranks)
      : Attention(context, /*gate_comm=*/nullptr), ranks_(ranks) {}

  const DecoderStep& begin(const DecoderStep& step) override;
  void run(int64_t l) override;
  std::vector<DecoderStats> count() override;

 private:
  using Sequence = ContextParallel::Sequence;
  // Calls body(segment, first_row) for each of this rank's segments of a sequence.
  template <class Body>
  void each_segment(const Sequence& s, Body&& body) const;
  void append(int64_t l, const Sequence& s);
  std::vector<BlockMask> select(int64_t l, Sequence* s);
  void attend_prefill_of(int64_t l, Sequence* s);
  void attend_decodes(int64_t l);

  ContextParallel* ranks_;
  const DecoderStep* step_ = nullptr;  // the whole one
};

}  // namespace seer
