// Attention over sequences whose pages are divided among ranks. For prefills a rank gets the pages of the
// others; for decodes the results of all ranks are merged.
#pragma once

#include <optional>
#include <vector>

#include "models/attention.h"

namespace seer {

class DividedAttention final : public Attention {
 public:
  // The gates get no communicator: each rank's gates see all heads of its own rows, so ContextParallel
  // gathers the reports.
  DividedAttention(const AttentionContext& context, ContextParallel* ranks)
      : Attention(context, /*gate_comm=*/nullptr), ranks_(ranks) {}

  const DecoderStep& begin(const DecoderStep& step) override;
  void run(int64_t l) override;
  std::vector<DecoderStats> count() override;

 private:
  using Sequence = ContextParallel::Sequence;
  // Calls body(segment, first_row) for each of this rank's segments of a sequence; first_row is its first
  // block row.
  template <class Body>
  void each_segment(const Sequence& s, Body&& body) const;
  // Writes the keys and values of this rank's segments to pages, and pools them if the sequence is sparse.
  void append(int64_t l, const Sequence& s);
  // Projects the gates of a sparse sequence, stores its new pages, and returns the blocks that the gates
  // choose for each of this rank's segments.
  std::vector<BlockMask> store_and_select(int64_t l, Sequence* s);
  void attend_prefill_of(int64_t l, Sequence* s);
  // Writes the decode gates' keys of the pages that the segments and decodes of `step` fill. Their block rows
  // begin at first_row.
  void store_decode_keys(int64_t l, const PagedKv& kv, const Step& step, int64_t first_row);
  // Returns the blocks that the gates of layer `l` choose for the step's decodes, from the pages of all
  // ranks. The result is absent if all decodes of the layer are dense.
  std::optional<BlockMask> select_for_decodes(int64_t l, const PagedKv& kv);
  void attend_decodes(int64_t l);

  ContextParallel* ranks_;
  const DecoderStep* step_ = nullptr;  // the whole step, of all ranks
};

}  // namespace seer
