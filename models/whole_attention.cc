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
  if (in.step.decodes.empty()) return;
  c_.backend->begin_phase(Phase::kAttention);
  c_.backend->decode_attention(out(n_tokens), q(n_tokens), kv);
  c_.backend->end_phase(Phase::kAttention);
}

BlockMask WholeAttention::select(int64_t l, const PagedKv& kv, size_t i, int64_t first_row) {
  const Segment& segment = step_->step.prefills[i];
  c_.backend->begin_phase(Phase::kGate);
  gate_->project(l, kv, segment, first_row, c_.rope->blocks(first_row, n_block_rows(segment)));
  const BlockMask mask = gate_->select(l, kv, segment, first_row, *step_->plans[i].select, step_->on_gate);
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
  return stats;
}

}  // namespace seer
