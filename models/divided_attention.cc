#include "models/divided_attention.h"

#include <optional>

namespace seer {

const DecoderStep& DividedAttention::begin(const DecoderStep& step) {
  step_ = &step;
  ranks_->divide(step);
  return ranks_->local();
}

// Prompts are computed one after the other, since there is room to bring together the pages of one at a time.
// A rank without rows takes part too, because the others may need its pages.
void DividedAttention::run(int64_t l) {
  for (Sequence& s : ranks_->sequences()) attend_prefill_of(l, &s);
  if (!ranks_->local().step.decodes.empty()) attend_decodes(l);
}

template <class Body>
void DividedAttention::each_segment(const Sequence& s, Body&& body) const {
  int64_t first_row = s.first_block_row;
  for (const Segment& segment : ranks_->segments_of(s)) {
    body(segment, first_row);
    first_row += n_block_rows(segment);
  }
}

void DividedAttention::append(int64_t l, const Sequence& s) {
  const std::span<const Segment> segments = ranks_->segments_of(s);
  if (segments.empty()) return;
  const int64_t n_tokens = ranks_->local().step.n_tokens;
  PooledBlocks pooled;
  if (s.sparse()) {
    int64_t n_rows = 0;
    each_segment(s, [&](const Segment& segment, int64_t) { n_rows += n_block_rows(segment); });
    pooled = c_.workspace->pooled.rows(s.first_block_row, n_rows);
  }
  if (s.sparse()) c_.backend->begin_phase(Phase::kGate);  // append_kv pools as well
  c_.backend->append_kv(q(n_tokens), ranks_->pages(), qkv(n_tokens), head_norms(l), c_.rope->tokens(n_tokens),
                        {n_tokens, segments, {}}, s.sparse() ? &pooled : nullptr);
  if (s.sparse()) c_.backend->end_phase(Phase::kGate);
  store_decode_keys(l, ranks_->pages(), {n_tokens, segments, {}}, s.first_block_row);
}

void DividedAttention::store_decode_keys(int64_t l, const PagedKv& kv, const Step& step, int64_t first_row) {
  if (!decode_gate_ || !fills_pages(step, c_.limits.page_tokens)) return;
  c_.backend->begin_phase(Phase::kGate);
  decode_gate_->store_keys(l, kv, c_.rope->block_ropes(first_row), step);
  c_.backend->end_phase(Phase::kGate);
}

std::vector<BlockMask> DividedAttention::store_and_select(int64_t l, Sequence* s) {
  c_.backend->begin_phase(Phase::kGate);
  each_segment(*s, [&](const Segment& segment, int64_t first_row) {
    gate_->project(l, ranks_->pages(), segment, first_row, c_.rope->blocks(first_row, n_block_rows(segment)));
  });
  ranks_->store(l, *s);
  ranks_->bring_gate_keys(l, *s);
  std::optional<ContextParallel::Report> report;
  GateObserver add;
  if (step_->on_gate) {
    report.emplace(ranks_, s, c_.config.n_heads);
    add = [&](const GateReport& part) { report->add(part); };
  }
  std::vector<BlockMask> masks;
  each_segment(*s, [&](const Segment& segment, int64_t first_row) {
    masks.push_back(gate_->select(l, ranks_->pages(), segment, first_row, *s->plan, add));
  });
  c_.backend->end_phase(Phase::kGate);
  if (report) report->deliver(l, step_->on_gate);
  return masks;
}

void DividedAttention::attend_prefill_of(int64_t l, Sequence* s) {
  append(l, *s);
  std::vector<BlockMask> masks;
  if (s->sparse()) {
    masks = store_and_select(l, s);
  } else {
    ranks_->store(l, *s);
  }
  // After the gates of the last layer, only rows whose logits are wanted need keys and values.
  if (l == c_.config.n_layers - 1 && !s->wants_logits) return;
  c_.backend->begin_phase(Phase::kAttention);
  ranks_->bring_pages(l, s, masks);
  const std::span<const Segment> segments = ranks_->segments_of(*s);
  for (size_t i = 0; i < segments.size(); ++i)
    attend_prefill(l, ranks_->pages(), segments[i], s->sparse() ? &masks[i] : nullptr, ranks_->local());
  c_.backend->end_phase(Phase::kAttention);
}

std::optional<BlockMask> DividedAttention::select_for_decodes(int64_t l, const PagedKv& kv) {
  if (!any_sparse_decode(*step_) || !decode_gate_->chooses(l)) return std::nullopt;
  const int64_t n_tokens = ranks_->local().step.n_tokens;
  // Every rank knows the choice for all heads, and rank 0 alone reports it.
  const DecodeGateObserver none;
  const DecodeGateObserver& observer = c_.comm->rank() == 0 ? step_->on_decode_gate : none;
  c_.backend->begin_phase(Phase::kGate);
  const BlockMask mask =
      decode_gate_->select_divided(l, ranks_->decode_scores(), qkv(n_tokens), head_norms(l),
                                   c_.rope->tokens(n_tokens), kv, c_.comm, observer);
  c_.backend->end_phase(Phase::kGate);
  return mask;
}

// Each rank attends to its own pages, and then the ranks' results are merged.
void DividedAttention::attend_decodes(int64_t l) {
  const DecoderStep& in = ranks_->local();
  const int64_t n_tokens = in.step.n_tokens;
  const PagedKv kv = c_.cache->layer(l);
  const Step decodes{n_tokens, {}, in.step.decodes};
  c_.backend->append_kv(q(n_tokens), kv, qkv(n_tokens), head_norms(l), c_.rope->tokens(n_tokens), decodes,
                        nullptr);
  int64_t n_rows = 0;
  for (const Segment& segment : in.step.prefills) n_rows += n_block_rows(segment);
  store_decode_keys(l, kv, decodes, n_rows);
  const std::optional<BlockMask> mask = select_for_decodes(l, kv);
  if (l == c_.config.n_layers - 1 && !ranks_->decodes_want_logits()) return;
  c_.backend->begin_phase(Phase::kAttention);
  const Tensor part = ranks_->attention_part();
  if (mask) {
    c_.backend->masked_attention_part(part, q(n_tokens), kv, *mask, ranks_->room_for_lists());
  } else {
    c_.backend->decode_attention_part(part, q(n_tokens), kv);
  }
  const auto n = static_cast<int64_t>(in.step.decodes.size());
  c_.backend->merge_attention(c_.workspace->attn.rows(n_tokens - n, n), ranks_->gather_attention(part));
  c_.backend->end_phase(Phase::kAttention);
}

std::vector<DecoderStats> DividedAttention::count() {
  if (any_sparse(ranks_->local())) gate_->read_counts();
  std::vector<DecoderStats> stats(step_->plans.size());
  for (size_t i = 0; i < stats.size(); ++i) {
    const Sequence& s = ranks_->sequences()[i];
    each_segment(s, [&](const Segment& segment, int64_t first_row) {
      stats[i] += count_segment(segment, s.sparse(), first_row);
    });
    if (c_.comm->rank() == 0) stats[i] += s.stats;  // every rank counted the same
  }
  if (!any_sparse_decode(*step_)) return stats;
  // Every rank kept the same blocks of all heads, so rank 0 counts them alone.
  if (c_.comm->rank() == 0) {
    count_decodes(step_->step.decodes, &stats);
  } else {
    stats.resize(stats.size() + step_->step.decodes.size());
  }
  return stats;
}

}  // namespace seer
