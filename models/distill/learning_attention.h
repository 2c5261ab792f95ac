// Dense attention in which gates learn. The forward pass of the frozen model is the usual one; in each layer,
// the layer's gate is compared with what the layer attends to. So all layers learn in one forward pass, and
// each layer overwrites the memory that the one before it needed for learning. Attention and ground truth are
// computed for one part of the window after another, so that the memory for maxima does not grow with the
// square of the window's length.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/distillation.h"
#include "models/attention.h"
#include "models/distill/gate_learner.h"
#include "models/distill/gate_plan.h"

namespace seer {

// What LearningAttention shares with the trainer.
struct Lesson {
  Tensor weights;      // f32 [n_layers, layer_size], on the device
  Tensor gradients;    // of the same shape; each window adds its own
  float scale = 1.0F;  // multiplies each window's gradient
  // [rows.n], with the mean 1: factors of the gradients of the window's rows. If empty, all are 1. Losses are
  // means that do not use these factors, so that losses of windows with and without look-ups can be compared.
  std::vector<float> row_weights;
  bool learns = true;          // false: only losses are computed
  std::vector<double> losses;  // [n_layers]: each window adds its mean loss
  // If it is given, it is called for each layer with the gate's scores before the softmax and the ground
  // truth, both f32 [n_score_heads, rows.n, n_blocks] on the device.
  std::function<void(int64_t layer, const Tensor& scores, const Tensor& truth)> on_scores;
};

// A step must be one prefill segment of limits.n_tokens tokens, from position 0 on. All layers use the same
// pages: those of layer 0 of the context's cache, so a cache for one layer is enough.
class LearningAttention final : public Attention {
 public:
  // `plan` and `lesson` must outlive it. `part_tokens` is the size of the parts, a multiple of the block.
  // Throws Error{kMemory}.
  LearningAttention(const AttentionContext& context, const GatePlan& plan, const ScoredRows& rows,
                    int64_t part_tokens, Lesson* lesson);

  const DecoderStep& begin(const DecoderStep& step) override;
  // Throws Error{kRuntime} if the layer's loss is not a finite number; the message names the layer.
  void run(int64_t l) override;
  std::vector<DecoderStats> count() override;

 private:
  void take_tensors(Arena* arena);
  // Computes the layer's attention, and the ground truth of its rows.
  void attend(const PagedKv& kv, int64_t n_tokens);
  void learn(int64_t l);

  Distillation* device_;
  const GatePlan& plan_;
  ScoredRows rows_;
  Lesson* lesson_;
  int64_t n_blocks_, part_tokens_;
  std::unique_ptr<GateLearner> gate_;
  const DecoderStep* step_ = nullptr;
  Tensor maxima_, log_sums_;  // [n_heads, part_tokens, width], [n_heads, part_tokens]
  Tensor truth_, losses_;     // [n_score_heads, rows.n, n_blocks], [n_score_heads, rows.n]
  Tensor row_weights_;        // [rows.n]
  GateInputs inputs_;
  std::vector<float> host_losses_;
  Buffer buffer_;
};

}  // namespace seer
