// The forward pass where prompts are divided among ranks by their tokens: what differs is attention, which
// reads pages of other ranks, and where logits come from.
#include <algorithm>

#include "models/decoder.h"

namespace seer {

// One prompt after the other, for pages of one are brought together at a time.
void Decoder::attention_divided(int64_t l, const DecoderStep& in, const GateObserver& observer) {
  for (ContextParallel::Sequence& s : context_->sequences()) attend_divided_prefill(l, in, &s, observer);
  if (!in.step.decodes.empty()) attend_divided_decodes(l, in);
}

void Decoder::attend_divided_prefill(int64_t l, const DecoderStep& in, ContextParallel::Sequence* s,
                                     const GateObserver& observer) {
  const int64_t n_tokens = in.step.n_tokens;
  const Tensor qkv = workspace_.qkv.rows(0, n_tokens), q = workspace_.q.rows(0, n_tokens);
  const RopeTable rope{workspace_.rope.cos.rows(0, n_tokens), workspace_.rope.sin.rows(0, n_tokens)};
  const PagedKv& pages = context_->pages();
  const std::span<const Segment> segments = context_->segments_of(*s);
  const auto each = [&](auto&& body) {
    int64_t first_row = s->first_block_row;
    for (const Segment& segment : segments) {
      body(segment, first_row);
      first_row += n_block_rows(segment);
    }
  };

  if (!segments.empty()) {
    PooledBlocks pooled;
    if (s->sparse()) {
      int64_t n_rows = 0;
      each([&](const Segment& segment, int64_t) { n_rows += n_block_rows(segment); });
      pooled = workspace_.pooled.rows(s->first_block_row, n_rows);
    }
    if (s->sparse()) backend_->begin_phase(Phase::kGate);
    backend_->append_kv(q, pages, qkv, rope, {n_tokens, segments, {}}, s->sparse() ? &pooled : nullptr);
    if (s->sparse()) backend_->end_phase(Phase::kGate);
  }
  std::vector<BlockMask> masks;
  if (s->sparse()) {
    backend_->begin_phase(Phase::kGate);
    each([&](const Segment& segment, int64_t first_row) {
      gate_->project(l, pages, segment, first_row, block_rope(first_row, n_block_rows(segment)));
    });
  }
  context_->store(l, *s);
  if (s->sparse()) {
    context_->bring_gate_keys(l, *s);
    std::optional<ContextParallel::Report> report;
    GateObserver add;
    if (observer) {
      report.emplace(context_.get(), s, config_.n_heads);
      add = [&](const GateReport& part) { report->add(part); };
    }
    each([&](const Segment& segment, int64_t first_row) {
      masks.push_back(gate_->select(l, pages, segment, first_row, *s->plan->select, add));
    });
    backend_->end_phase(Phase::kGate);
    if (report) report->deliver(l, observer);
  }
  // Keys and values behind the last layer's gates serve the rows whose logits are wanted, and no one else.
  if (l == config_.n_layers - 1 && !s->wants_logits) return;
  backend_->begin_phase(Phase::kAttention);
  context_->bring_pages(l, s, masks);
  for (size_t i = 0; i < segments.size(); ++i) {
    const int64_t first_token = first_token_read(l, segments[i], in.logit_rows);
    if (first_token == segments[i].n_tokens) continue;
    backend_->prefill_attention(workspace_.attn.rows(0, n_tokens), q, pages, segments[i],
                                s->sparse() ? &masks[i] : nullptr, first_token);
  }
  backend_->end_phase(Phase::kAttention);
}

// Each rank over its own pages.
void Decoder::attend_divided_decodes(int64_t l, const DecoderStep& in) {
  const int64_t n_tokens = in.step.n_tokens;
  const PagedKv kv = cache_->layer(l);
  const Tensor q = workspace_.q.rows(0, n_tokens);
  backend_->append_kv(q, kv, workspace_.qkv.rows(0, n_tokens),
                      {workspace_.rope.cos.rows(0, n_tokens), workspace_.rope.sin.rows(0, n_tokens)},
                      {n_tokens, {}, in.step.decodes}, nullptr);
  if (l == config_.n_layers - 1 && !context_->decodes_want_logits()) return;
  backend_->begin_phase(Phase::kAttention);
  const Tensor part = context_->attention_part();
  backend_->decode_attention_part(part, q, kv, in.decode_parts);
  const auto n = static_cast<int64_t>(in.step.decodes.size());
  backend_->merge_attention(workspace_.attn.rows(n_tokens - n, n), context_->gather_attention(part));
  backend_->end_phase(Phase::kAttention);
}

void Decoder::project_divided(const Tensor& x, const Tensor& free, int64_t first, int64_t n) {
  const ContextParallel::LogitRows rows = context_->logit_rows(first, n);
  const bool gathered = !context_->rank_0_has(first, n);
  const Tensor mine =
      (gathered ? context_->local_logits(workspace_.logits) : workspace_.logits).rows(0, rows.n);
  if (rows.n > 0)
    backend_->norm_linear(mine, free.rows(0, rows.n), x.rows(rows.first, rows.n), weights_.norm,
                          config_.rms_norm_eps, weights_.lm_head);
  if (gathered) context_->gather_logits(workspace_.logits.rows(0, n), mine, first, n);
}

DecoderStats Decoder::count_divided(const DecoderStep& step) {
  const DecoderStep& mine = context_->local();
  if (std::any_of(mine.plans.begin(), mine.plans.end(),
                  [](const PrefillPlan& p) { return p.select.has_value(); }))
    gate_->read_counts();
  std::vector<DecoderStats> stats(step.plans.size());
  for (size_t i = 0; i < stats.size(); ++i) {
    const ContextParallel::Sequence& s = context_->sequences()[i];
    int64_t first_row = s.first_block_row;
    for (const Segment& segment : context_->segments_of(s)) {
      stats[i] += count_segment(segment, s.sparse(), first_row);
      first_row += n_block_rows(segment);
    }
    if (comm_->rank() == 0) stats[i] += s.stats;  // every rank counted the same
  }
  return take_stats(step, std::move(stats));
}

}  // namespace seer
