#include "models/attn_gate.h"

#include <cassert>

#include "models/gather_heads.h"

namespace seer {

AttnGate::AttnGate(Backend* backend, Communicator* comm, const ModelConfig& model, const GateWeights& weights,
                   Workspace* workspace)
    : backend_(backend),
      comm_(comm),
      workspace_(workspace),
      n_layers_(model.n_layers),
      n_heads_(model.n_heads) {
  const GateConfig& config = weights.config;
  for (const GateLayer& layer : weights.layers) {
    GateView view;
    view.q_pools = config.q;
    view.k_pools = config.k;
    if (layer.linear_q) view.linear_q = backend->to_device(layer.linear_q, &buffers_);
    view.linear_k = backend->to_device(layer.linear_k, &buffers_);
    layers_.push_back(view);
  }
  // The factors are passed as integers, because a device may round floating-point weights.
  if (!config.head_factors.empty())
    head_factors_ = backend->to_device(
        Tensor(const_cast<float*>(config.head_factors.data()), DType::kI32, {n_layers_, n_heads_}),
        &buffers_);
}

void AttnGate::project(int64_t layer, const PagedKv& kv, const Segment& segment, int64_t first_row,
                       const RopeTable& block_rope) {
  const int64_t n_rows = block_rope.cos.dim(0);
  backend_->gate_project(workspace_->gate_q.rows(first_row, n_rows), kv,
                         workspace_->pooled.rows(first_row, n_rows), layers_[static_cast<size_t>(layer)],
                         block_rope, segment);
}

BlockMask AttnGate::select(int64_t layer, const PagedKv& kv, const Segment& segment, int64_t first_row,
                           const PrefillPlan& plan, const GateObserver& observer) {
  SelectRule rule = *plan.select;
  if (rule.method == SelectRule::Method::kHeadThreshold) {
    const float* const factors =
        plan.head_factors != nullptr ? plan.head_factors : static_cast<const float*>(head_factors_.data);
    assert(factors != nullptr);  // the engine refuses the rule otherwise
    rule.head_factors = factors + layer * n_heads_;
  }
  const int64_t page = kv.page_tokens(), n_rows = blocks_of(segment.n_tokens, page);
  const int64_t n_blocks = rule.n_prompt_blocks;
  const Tensor layer_counts =
      workspace_->kept_counts.rows(layer, 1).reshaped({workspace_->kept_counts.dim(1)});
  BlockMask mask;
  mask.counts = layer_counts.rows(first_row * n_heads_, n_rows * n_heads_).reshaped({n_heads_, n_rows});
  const int64_t most_blocks = workspace_->kept_blocks.dim(0) / workspace_->kept_counts.dim(1);
  mask.blocks = workspace_->kept_blocks.rows(first_row * n_heads_ * most_blocks, n_heads_ * n_rows * n_blocks)
                    .reshaped({n_heads_, n_rows, n_blocks});
  const Tensor gate_q = workspace_->gate_q.rows(first_row, n_rows);
  if (!observer) {
    backend_->select_blocks(mask, nullptr, gate_q, kv, segment, rule);
    return mask;
  }
  Tensor scores(nullptr, DType::kF32, {n_heads_, n_rows, n_blocks});
  const Buffer buffer = backend_->allocate(scores.nbytes(), "gate scores for a report");
  scores.data = buffer.get();
  backend_->select_blocks(mask, &scores, gate_q, kv, segment, rule);
  report(layer, segment.start / page, mask, scores, observer);
  return mask;
}

void AttnGate::report(int64_t layer, int64_t first_row, const BlockMask& mask, const Tensor& scores,
                      const GateObserver& observer) {
  const std::vector<float> host_scores = gather_heads<float>(backend_, comm_, scores);
  const std::vector<int32_t> counts = gather_heads<int32_t>(backend_, comm_, mask.counts),
                             blocks = gather_heads<int32_t>(backend_, comm_, mask.blocks);
  if (comm_ != nullptr && comm_->rank() != 0) return;
  const int64_t n_ranks = comm_ == nullptr ? 1 : comm_->size();
  observer({layer, first_row, mask.n_rows(), n_heads_ * n_ranks, mask.row_capacity(), host_scores.data(),
            counts.data(), blocks.data()});
}

void AttnGate::read_counts() {
  counts_.resize(static_cast<size_t>(workspace_->kept_counts.numel()));
  backend_->read(counts_.data(), workspace_->kept_counts);
}

int64_t AttnGate::count_kept(int64_t first_row, int64_t n_rows) const {
  const int64_t width = workspace_->kept_counts.dim(1);
  int64_t kept = 0;
  for (int64_t l = 0; l < n_layers_; ++l)
    for (int64_t i = first_row * n_heads_; i < (first_row + n_rows) * n_heads_; ++i)
      kept += counts_[static_cast<size_t>(l * width + i)];
  return kept;
}

}  // namespace seer
