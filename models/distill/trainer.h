// Trains the gates of a frozen model, one step after another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "models/decoder.h"
#include "models/distill/gate_plan.h"
#include "models/distill/learning_attention.h"
#include "models/model.h"

namespace seer {

struct TrainerOptions {
  int64_t window = 0;  // tokens, a multiple of the gates' block
  int64_t n_steps = 0, warm_up = 20;
  double learning_rate = 1e-3, last_rate = 0.0;
  double max_norm = 1.0;      // of the gradients of all gates together, or of each layer's
  bool clips_layers = false;  // each layer's gradients are clipped to max_norm by themselves
  int64_t row_stride = 1;     // gates for decoding: every how many tokens there is a row
  // The most memory for block maxima, which decides how large the parts of a window are that are computed at
  // a time. 2 GiB are 16384 tokens of 65536 with 32 heads and blocks of 64. Parts round differently from the
  // whole, so another number gives other bits.
  int64_t maxima_bytes = int64_t{2} << 30;
};

// The numbers that training changes, on the host. A trainer that gets them goes on with the same bits.
struct TrainerState {
  int64_t n_done = 0;  // steps
  std::vector<float> weights, moments, second_moments;
};

struct StepReport {
  std::vector<double> losses;  // [n_layers], mean over the step's windows
  double gradient_norm = 0.0;  // of all gates together, before it was clipped
  double learning_rate = 0.0;
};

using Window = std::span<const int32_t>;

// One thread at a time.
class Trainer {
 public:
  // `model` must be loaded, on one rank, on a device with a Distillation; it needs no cache and no decoder.
  // `model` and `plan` must outlive it. Throws Error{kMemory}.
  Trainer(const Model& model, const GatePlan& plan, const TrainerOptions& options, uint64_t seed);
  ~Trainer();

  // Learns from some windows. `go_on` is called before each of them, and may throw; weights and state are
  // then those before the step. Throws Error{kRuntime} if a loss or the gradient is not finite, with the
  // layer and the step.
  StepReport step(std::span<const Window> windows, const std::function<void()>& go_on);
  // Returns the mean losses of the layers without learning. `on_scores` may be empty; Lesson says what it
  // gets.
  using ScoresObserver = std::function<void(int64_t layer, const Tensor& scores, const Tensor& truth)>;
  std::vector<double> evaluate(Window window, const ScoresObserver& on_scores);

  int64_t n_done() const { return n_done_; }
  const ScoredRows& rows() const { return rows_; }
  TrainerState state() const;
  // Returns the gradient of the last step, before it was clipped.
  std::vector<float> gradients() const { return read(gradients_); }
  void set_state(const TrainerState& state);
  // Replaces the gates' weights alone.
  void set_weights(const std::vector<float>& weights);
  // Returns the learning rate of a step, counted from 0: a warm-up times a cosine.
  double rate_of(int64_t step) const;

 private:
  void forward(Window window);
  // Takes a step of AdamW by gradients that are clipped by `squares`, each layer's sum of squares.
  void update(const std::vector<double>& squares, double learning_rate);
  std::vector<float> read(const Tensor& t) const;

  const Model& model_;
  const GatePlan& plan_;
  TrainerOptions options_;
  ScoredRows rows_;
  Distillation* device_;
  ModelConfig one_layer_;  // of the cache
  std::vector<int32_t> page_table_;
  Tensor weights_, gradients_, moments_, second_moments_;  // [n_layers, layer_size]
  Lesson lesson_;
  int64_t n_done_ = 0;
  Buffer buffer_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace seer
