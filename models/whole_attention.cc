#include "models/whole_attention.h"

namespace seer {

const DecoderStep& WholeAttention::begin(const DecoderStep& step) {
  step_ = &step;
  return step;
}

void WholeAttention::run(int64_t l) {
  const DecoderStep& in = *step_;
  const int64_t n_tokens = in.step.n_tokens;
  const PagedKv kv = c_.cache->layer(l);
  const bool sparse_step = any_sparse(in);
  if (sparse_step) c_.backend->begin_phase(Phase::kGate);  // a GPU pools in the same kernel
  c_.backend->append_kv(q(n_tokens), kv, qkv(n_tokens), head_norms(l), c_.rope->tokens(n_tokens), in.step,
                        sparse_step ? &c_.workspace->pooled : nullptr);
  if (sparse_step) c_.backend->end_phase(Phase::kGate);
  if (decode_gate_ && fills_pages(in.step, c_.limits.page_tokens)) {
    c_.backend->begin_phase(Phase::kGate);
    decode_gate_->store_keys(l, kv, c_.rope->block_ropes(), in.step);
    c_.backend->end_phase(Phase::kGate);
  }

  int64_t first_row = 0;
  for (size_t i = 0; i < in.plans.size(); ++i) {
    const Segment& segment = in.step.prefills[i];
    const bool sparse = in.plans[i].select.has_value();
    const BlockMask mask = sparse ? select(l, kv, i, first_row) : BlockMask();
    first_row += n_block_rows(segment);
    c_.backend->begin_phase(Phase::kAttention);
    attend_prefill(l, kv, segment, sparse ? &mask : nullptr, in);
    c_.backend->end_phase(Phase::kAttention);
  }
  if (!in.step.decodes.empty()) attend_decodes(l, kv);
}

void WholeAttention::attend_decodes(int64_t l, const PagedKv& kv) {
  const DecoderStep& in = *step_;
  const int64_t n_tokens = in.step.n_tokens;
  const bool sparse = any_sparse_decode(in) && decode_gate_->chooses(l);
  BlockMask mask;
  if (sparse) {
    c_.backend->begin_phase(Phase::kGate);
    mask = decode_gate_->select(l, static_cast<int64_t>(in.step.decodes.size()), qkv(n_tokens), head_norms(l),
                                c_.rope->tokens(n_tokens), kv, in.on_decode_gate);
    c_.backend->end_phase(Phase::kGate);
  }
  c_.backend->begin_phase(Phase::kAttention);
  c_.backend->decode_attention(out(n_tokens), q(n_tokens), kv, sparse ? &mask : nullptr);
  c_.backend->end_phase(Phase::kAttention);
}

BlockMask WholeAttention::select(int64_t l, const PagedKv& kv, size_t i, int64_t first_row) {
  const Segment& segment = step_->step.prefills[i];
  c_.backend->begin_phase(Phase::kGate);
  gate_->project(l, kv, segment, first_row, c_.rope->blocks(first_row, n_block_rows(segment)));
  const BlockMask mask = gate_->select(l, kv, segment, first_row, step_->plans[i], step_->on_gate);
  c_.backend->end_phase(Phase::kGate);
  return mask;
}

std::vector<DecoderStats> WholeAttention::count() {
  if (any_sparse(*step_)) gate_->read_counts();
  std::vector<DecoderStats> stats;
  int64_t first_row = 0;
  for (size_t i = 0; i < step_->plans.size(); ++i) {
    const Segment& segment = step_->step.prefills[i];
    stats.push_back(count_segment(segment, step_->plans[i].select.has_value(), first_row));
    first_row += n_block_rows(segment);
  }
  if (any_sparse_decode(*step_)) count_decodes(step_->step.decodes, &stats);
  return stats;
}

}  // namespace seer
