#include "models/distill/gate_learner.h"

#include <cassert>
#include <cmath>
#include <string>

#include "kernels/distillation.h"
#include "models/arena.h"

namespace seer {
namespace {

constexpr const char* kGatePurpose = "a gate that learns";
constexpr const char* kGateTooLarge =
    "the scores of a gate that learns are beyond the address space. Use a smaller --window.";

// Returns a part of a layer's list as a tensor.
Tensor part(const Tensor& list, const PlannedTensor& tensor, std::initializer_list<int64_t> shape) {
  return list.rows(tensor.first, tensor.size()).reshaped(shape);
}

// Gates for prompts (models/DESIGN.md, chapter 2). With two weights, Qg[h] = Qp[h] Wq[h] and Kg[kv] = Kp[kv]
// Wk[kv]. With one, Qg = Qp and Kg[h] = Kp[kv(h)] Wk[h].
class PrefillLearner final : public GateLearner {
 public:
  PrefillLearner(Backend* backend, const GatePlan& plan, const ModelConfig& model, const ScoredRows& rows,
                 int64_t n_blocks)
      : device_(backend->distillation()),
        plan_(plan),
        config_(plan.prefill_config()),
        n_heads_(model.n_heads),
        n_kv_heads_(model.n_kv_heads),
        group_(model.n_heads / model.n_kv_heads),
        d_q_(config_.q.count() * model.d_head),
        d_k_(config_.k.count() * model.d_head),
        n_gate_heads_(config_.n_gate_heads(model)),
        rows_(rows),
        scale_(1.0F / std::sqrt(static_cast<float>(config_.d_gate))) {
    buffer_ = Arena::allocate(backend, kGatePurpose, kGateTooLarge, [&](Arena* arena) {
      const auto take = [&](int64_t heads, int64_t n, int64_t width) {
        return arena->take(DType::kF32, {heads, n, width});
      };
      const int64_t d = config_.d_gate;
      if (config_.double_linear) pooled_q_ = take(n_heads_, rows.n, d_q_);
      pooled_k_ = take(n_kv_heads_, n_blocks, d_k_);
      query_ = take(n_heads_, rows.n, d);
      key_ = take(n_gate_heads_, n_blocks, d);
      d_query_ = take(n_heads_, rows.n, d);
      d_key_ = take(n_gate_heads_, n_blocks, d);
      scores_ = take(n_heads_, rows.n, n_blocks);
    });
  }

  int64_t n_score_heads() const override { return n_heads_; }

  Tensor score(const Tensor& weights, const GateInputs& inputs) override {
    inputs_ = inputs;
    const Tensor q = inputs.pooled.q.rows(rows_.first, rows_.n);
    device_->split_heads(pooled_k_, inputs.pooled.k);
    if (config_.double_linear) {
      device_->split_heads(pooled_q_, q);
      device_->multiply(Matrices(query_), Matrices(pooled_q_), Matrices(query_weight(weights)), 1.0F, false);
      device_->multiply(Matrices(key_), Matrices(pooled_k_), Matrices(key_weight(weights)), 1.0F, false);
    } else {
      device_->split_heads(query_, q);
      for (int64_t g = 0; g < group_; ++g)
        device_->multiply(Matrices(key_).every(group_, g), Matrices(pooled_k_),
                          Matrices(key_weight(weights)).every(group_, g), 1.0F, false);
    }
    device_->rotate_heads(query_, inputs.row_rope, false);
    device_->rotate_heads(key_, inputs.block_rope, false);
    device_->multiply(Matrices(by_gate_head(scores_)), Matrices(by_gate_head(query_)),
                      Matrices(key_).transpose(), scale_, false);
    return scores_;
  }

  void learn(const Tensor& gradients, const Tensor&) override {
    device_->multiply(Matrices(d_key_), Matrices(by_gate_head(scores_)).transpose(),
                      Matrices(by_gate_head(query_)), scale_, false);
    device_->rotate_heads(d_key_, inputs_.block_rope, true);
    if (!config_.double_linear) {
      for (int64_t g = 0; g < group_; ++g)
        device_->multiply(Matrices(key_weight(gradients)).every(group_, g), Matrices(pooled_k_).transpose(),
                          Matrices(d_key_).every(group_, g), 1.0F, true);
      return;
    }
    device_->multiply(Matrices(key_weight(gradients)), Matrices(pooled_k_).transpose(), Matrices(d_key_),
                      1.0F, true);
    device_->multiply(Matrices(by_gate_head(d_query_)), Matrices(by_gate_head(scores_)), Matrices(key_),
                      scale_, false);
    device_->rotate_heads(d_query_, inputs_.row_rope, true);
    device_->multiply(Matrices(query_weight(gradients)), Matrices(pooled_q_).transpose(), Matrices(d_query_),
                      1.0F, true);
  }

 private:
  // Heads that share a gate key become rows of one matrix: [n_gate_heads, heads of each * rows, width].
  Tensor by_gate_head(const Tensor& t) const {
    return t.reshaped({n_gate_heads_, n_heads_ / n_gate_heads_ * t.dim(1), t.dim(2)});
  }
  Tensor query_weight(const Tensor& list) const {
    return part(list, plan_.layer_tensors().front(), {n_heads_, d_q_, config_.d_gate});
  }
  Tensor key_weight(const Tensor& list) const {
    return part(list, plan_.layer_tensors().back(), {n_gate_heads_, d_k_, config_.d_gate});
  }

  Distillation* device_;
  const GatePlan& plan_;
  const GateConfig& config_;
  int64_t n_heads_, n_kv_heads_, group_, d_q_, d_k_, n_gate_heads_;
  ScoredRows rows_;
  float scale_;
  GateInputs inputs_;
  Tensor pooled_q_, pooled_k_;  // [heads, rows or blocks, pools * d_head]
  Tensor query_, key_;          // [heads, rows or blocks, d_gate], rotated
  Tensor d_query_, d_key_;      // their gradients
  Tensor scores_;               // [n_heads, rows, n_blocks]
  Buffer buffer_;
};

// Gates for decoding (models/DESIGN.md, chapter 6): query = R(RMS(X Wq)) and key = R(RMS(Kp Wk)), where X is
// the group's query heads side by side (Qproj), their mean (Qavgproj), or their mean without a matrix (Qavg).
class DecodeLearner final : public GateLearner {
 public:
  DecodeLearner(Backend* backend, const GatePlan& plan, const ModelConfig& model, const ScoredRows& rows,
                int64_t n_blocks)
      : device_(backend->distillation()),
        plan_(plan),
        config_(plan.decode_config()),
        n_heads_(model.n_heads),
        n_kv_heads_(model.n_kv_heads),
        d_head_(model.d_head),
        n_query_heads_(config_.query_heads(model.n_heads / model.n_kv_heads)),
        d_k_(config_.k.count() * model.d_head),
        rows_(rows),
        scale_(1.0F / std::sqrt(static_cast<float>(config_.d_gate))) {
    buffer_ = Arena::allocate(backend, kGatePurpose, kGateTooLarge, [&](Arena* arena) {
      const auto take = [&](int64_t n, int64_t width) {
        return arena->take(DType::kF32, {n_kv_heads_, n, width});
      };
      const int64_t d = config_.d_gate;
      heads_ = take(rows.n, std::max<int64_t>(n_query_heads_, 1) * d_head_);
      pooled_k_ = take(n_blocks, d_k_);
      plain_query_ = n_query_heads_ > 0 ? take(rows.n, d) : heads_;
      plain_key_ = take(n_blocks, d);
      query_ = take(rows.n, d);
      key_ = take(n_blocks, d);
      d_query_ = take(rows.n, d);
      d_key_ = take(n_blocks, d);
      scores_ = take(rows.n, n_blocks);
    });
  }

  int64_t n_score_heads() const override { return n_kv_heads_; }

  Tensor score(const Tensor& weights, const GateInputs& inputs) override {
    inputs_ = inputs;
    device_->group_queries(heads_, inputs.qkv, inputs.norms, rows_, n_heads_, d_head_);
    device_->split_heads(pooled_k_, inputs.pooled.k);
    if (n_query_heads_ > 0)
      device_->multiply(Matrices(plain_query_), Matrices(heads_), Matrices(query_weight(weights)), 1.0F,
                        false);
    device_->multiply(Matrices(plain_key_), Matrices(pooled_k_), Matrices(key_weight(weights)), 1.0F, false);
    finish(query_, plain_query_, weights, 0, inputs.row_rope);
    finish(key_, plain_key_, weights, 1, inputs.block_rope);
    device_->multiply(Matrices(scores_), Matrices(query_), Matrices(key_).transpose(), scale_, false);
    return scores_;
  }

  void learn(const Tensor& gradients, const Tensor& weights) override {
    device_->multiply(Matrices(d_query_), Matrices(scores_), Matrices(key_), scale_, false);
    device_->multiply(Matrices(d_key_), Matrices(scores_).transpose(), Matrices(query_), scale_, false);
    finish_back(d_query_, gradients, plain_query_, weights, 0, inputs_.row_rope);
    finish_back(d_key_, gradients, plain_key_, weights, 1, inputs_.block_rope);
    if (n_query_heads_ > 0)
      device_->multiply(Matrices(query_weight(gradients)), Matrices(heads_).transpose(), Matrices(d_query_),
                        1.0F, true);
    device_->multiply(Matrices(key_weight(gradients)), Matrices(pooled_k_).transpose(), Matrices(d_key_),
                      1.0F, true);
  }

 private:
  // Normalises and rotates queries (side 0) or keys (side 1), if the gate does.
  void finish(const Tensor& out, const Tensor& plain, const Tensor& weights, int side,
              const RopeTable& rope) {
    if (config_.has_norms) {
      device_->normalise(out, plain, norm_weight(weights, side), DecodeGateView::kEpsilon);
    } else {
      device_->copy(out, plain);
    }
    if (config_.rotates) device_->rotate_heads(out, rope, false);
  }
  void finish_back(const Tensor& gradient, const Tensor& gradients, const Tensor& plain,
                   const Tensor& weights, int side, const RopeTable& rope) {
    if (config_.rotates) device_->rotate_heads(gradient, rope, true);
    if (config_.has_norms)
      device_->normalise_back(gradient, norm_weight(gradients, side), plain, norm_weight(weights, side),
                              DecodeGateView::kEpsilon);
  }
  Tensor query_weight(const Tensor& list) const {
    return part(list, plan_.layer_tensors().front(), {n_kv_heads_, n_query_heads_ * d_head_, config_.d_gate});
  }
  Tensor key_weight(const Tensor& list) const {
    return part(list, plan_.layer_tensors()[n_query_heads_ > 0 ? 1 : 0], {n_kv_heads_, d_k_, config_.d_gate});
  }
  Tensor norm_weight(const Tensor& list, int side) const {
    const size_t first = plan_.layer_tensors().size() - 2;
    return part(list, plan_.layer_tensors()[first + static_cast<size_t>(side)], {config_.d_gate});
  }

  Distillation* device_;
  const GatePlan& plan_;
  const DecodeGateConfig& config_;
  int64_t n_heads_, n_kv_heads_, d_head_, n_query_heads_, d_k_;
  ScoredRows rows_;
  float scale_;
  GateInputs inputs_;
  Tensor heads_;                    // [n_kv_heads, rows, inputs of linear_q]
  Tensor pooled_k_;                 // [n_kv_heads, n_blocks, pools * d_head]
  Tensor plain_query_, plain_key_;  // [n_kv_heads, rows or blocks, d_gate], before the norm
  Tensor query_, key_;              // normalised and rotated
  Tensor d_query_, d_key_;          // their gradients, then those before rotation and norm
  Tensor scores_;                   // [n_kv_heads, rows, n_blocks]
  Buffer buffer_;
};

}  // namespace

std::unique_ptr<GateLearner> make_gate_learner(Backend* backend, const GatePlan& plan,
                                               const ModelConfig& model, const ScoredRows& rows,
                                               int64_t n_blocks) {
  assert(backend->distillation() != nullptr);
  if (plan.decode()) return std::make_unique<DecodeLearner>(backend, plan, model, rows, n_blocks);
  return std::make_unique<PrefillLearner>(backend, plan, model, rows, n_blocks);
}

}  // namespace seer
