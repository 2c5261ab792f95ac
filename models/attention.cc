#include "models/attention.h"

#include <algorithm>

#include "models/divided_attention.h"
#include "models/whole_attention.h"

namespace seer {

std::unique_ptr<Attention> make_attention(const AttentionContext& context, ContextParallel* ranks) {
  if (ranks == nullptr) return std::make_unique<WholeAttention>(context);
  return std::make_unique<DividedAttention>(context, ranks);
}

Attention::Attention(const AttentionContext& context, Communicator* gate_comm) : c_(context) {
  if (c_.gates.prefill != nullptr)
    gate_ = std::make_unique<AttnGate>(c_.backend, gate_comm, c_.config, *c_.gates.prefill, c_.workspace);
  if (c_.gates.decode != nullptr)
    decode_gate_ =
        std::make_unique<DecodeGate>(c_.backend, gate_comm, c_.config, *c_.gates.decode, c_.workspace);
}

int64_t Attention::first_token_read(int64_t l, const Segment& segment,
                                    std::span<const int64_t> logit_rows) const {
  if (l < c_.config.n_layers - 1) return 0;
  const int64_t page = c_.limits.page_tokens;
  const auto wanted = std::lower_bound(logit_rows.begin(), logit_rows.end(), segment.row);
  if (wanted == logit_rows.end() || *wanted >= segment.row + segment.n_tokens) return segment.n_tokens;
  return (*wanted - segment.row) / page * page;
}

void Attention::attend_prefill(int64_t l, const PagedKv& kv, const Segment& segment, const BlockMask* mask,
                               const DecoderStep& step) {
  const int64_t n_tokens = step.step.n_tokens, first_token = first_token_read(l, segment, step.logit_rows);
  if (first_token < segment.n_tokens)
    c_.backend->prefill_attention(out(n_tokens), q(n_tokens), kv, segment, mask, first_token);
}

DecoderStats Attention::count_segment(const Segment& segment, bool sparse, int64_t first_row) const {
  const int64_t n_rows = n_block_rows(segment), before = segment.start / c_.limits.page_tokens;
  DecoderStats stats;
  stats.causal_blocks =
      (n_rows * before + n_rows * (n_rows + 1) / 2) * c_.config.n_layers * c_.config.n_heads;
  stats.kept_blocks = sparse ? gate_->count_kept(first_row, n_rows) : stats.causal_blocks;
  return stats;
}

void Attention::count_decodes(std::span<const Segment> decodes, std::vector<DecoderStats>* stats) const {
  decode_gate_->read_counts();
  for (size_t i = 0; i < decodes.size(); ++i) {
    DecoderStats& of = stats->emplace_back();
    of.kept_blocks = decode_gate_->count_kept(static_cast<int64_t>(i), static_cast<int64_t>(decodes.size()));
    of.causal_blocks = blocks_of(decodes[i].end(), c_.limits.page_tokens) * decode_gate_->n_lists();
  }
}

}  // namespace seer
