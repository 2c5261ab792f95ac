#include "models/decode_gate.h"

#include <cassert>

#include "models/gather_heads.h"

namespace seer {

DecodeGate::DecodeGate(Backend* backend, Communicator* comm, const ModelConfig& model,
                       const DecodeGateWeights& weights, Workspace* workspace)
    : backend_(backend),
      comm_(comm),
      workspace_(workspace),
      n_layers_(model.n_layers),
      n_kv_heads_(model.n_kv_heads),
      start_layer_(weights.config.start_layer) {
  const DecodeGateConfig& config = weights.config;
  const auto place = [&](const Tensor& t) { return t ? backend->to_device(t, &buffers_) : Tensor(); };
  for (const DecodeGateLayer& layer : weights.layers) {
    DecodeGateView view;
    view.k_pools = config.k;
    view.linear_q = place(layer.linear_q);
    view.linear_k = place(layer.linear_k);
    view.q_norm = place(layer.q_norm);
    view.k_norm = place(layer.k_norm);
    view.rotates = config.rotates;
    layers_.push_back(view);
  }
}

void DecodeGate::store_keys(int64_t layer, const PagedKv& kv, const BlockRopes& ropes, const Step& step) {
  backend_->store_decode_gate_keys(kv, layers_[static_cast<size_t>(layer)], ropes, step);
}

BlockMask DecodeGate::mask_of(int64_t layer, int64_t n_decodes) const {
  const Tensor& counts = workspace_->decode_counts;
  const int64_t n_lists = n_kv_heads_ * n_decodes, capacity = workspace_->decode_blocks.dim(1);
  BlockMask mask;
  mask.counts =
      counts.rows(layer, 1).reshaped({counts.dim(1)}).rows(0, n_lists).reshaped({n_kv_heads_, n_decodes});
  mask.blocks = workspace_->decode_blocks.rows(0, n_lists).reshaped({n_kv_heads_, n_decodes, capacity});
  return mask;
}

BlockMask DecodeGate::select(int64_t layer, int64_t n_decodes, const Tensor& qkv, const HeadNorms& norms,
                             const RopeTable& rope, const PagedKv& kv, const DecodeGateObserver& observer) {
  const DecodeGateView& gate = layers_[static_cast<size_t>(layer)];
  const BlockMask mask = mask_of(layer, n_decodes);
  if (!observer) {
    backend_->select_decode_blocks(mask, nullptr, qkv, norms, rope, kv, gate);
    return mask;
  }
  Tensor scores(nullptr, DType::kF32, {n_kv_heads_, n_decodes, mask.row_capacity()});
  const Buffer buffer = backend_->allocate(scores.nbytes(), "gate scores for a report");
  scores.data = buffer.get();
  backend_->select_decode_blocks(mask, &scores, qkv, norms, rope, kv, gate);
  report(layer, mask, scores, observer);
  return mask;
}

BlockMask DecodeGate::select_divided(int64_t layer, const Tensor& scores, const Tensor& qkv,
                                     const HeadNorms& norms, const RopeTable& rope, const PagedKv& kv,
                                     Communicator* ranks, const DecodeGateObserver& observer) {
  assert(comm_ == nullptr);
  const BlockMask mask = mask_of(layer, scores.dim(1));
  backend_->score_decode_blocks(scores, qkv, norms, rope, kv, layers_[static_cast<size_t>(layer)]);
  ranks->all_reduce_sum(scores);
  backend_->keep_decode_blocks(mask, scores, kv.page_tokens());
  if (observer) report(layer, mask, scores, observer);
  return mask;
}

void DecodeGate::report(int64_t layer, const BlockMask& mask, const Tensor& scores,
                        const DecodeGateObserver& observer) {
  const std::vector<float> host_scores = gather_heads<float>(backend_, comm_, scores);
  const std::vector<int32_t> counts = gather_heads<int32_t>(backend_, comm_, mask.counts),
                             blocks = gather_heads<int32_t>(backend_, comm_, mask.blocks);
  if (comm_ != nullptr && comm_->rank() != 0) return;
  const int64_t n_ranks = comm_ == nullptr ? 1 : comm_->size();
  observer({layer, mask.n_rows(), n_kv_heads_ * n_ranks, mask.row_capacity(), host_scores.data(),
            counts.data(), blocks.data()});
}

void DecodeGate::read_counts() {
  counts_.resize(static_cast<size_t>(workspace_->decode_counts.numel()));
  backend_->read(counts_.data(), workspace_->decode_counts);
}

int64_t DecodeGate::count_kept(int64_t i, int64_t n_decodes) const {
  const int64_t width = workspace_->decode_counts.dim(1);
  int64_t kept = 0;
  for (int64_t l = start_layer_; l < n_layers_; ++l)
    for (int64_t h = 0; h < n_kv_heads_; ++h)
      kept += counts_[static_cast<size_t>(l * width + h * n_decodes + i)];
  return kept;
}

}  // namespace seer
