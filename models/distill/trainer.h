// Trains the gates of a frozen model, one step after another, on one rank or on several.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/comm/communicator.h"
#include "kernels/comm/message.h"
#include "models/decoder.h"
#include "models/distill/gate_plan.h"
#include "models/distill/gate_share.h"
#include "models/distill/held_out.h"
#include "models/distill/learning_attention.h"
#include "models/model.h"

namespace seer {

struct TrainerOptions {
  int64_t window = 0;  // tokens, a multiple of the gates' block
  int64_t n_steps = 0, warm_up = 20;
  double learning_rate = 1e-3, last_rate = 0.0;
  double max_norm = 1.0;      // of the gradients of all gates together, or of each layer's
  bool clips_layers = false;  // each layer's gradients are clipped to max_norm by themselves
  int64_t row_stride = 1;     // gates for decoding: the tokens from one row to the next
  // The most memory for block maxima, which decides how large the parts are in which a window is computed.
  // With 2 GiB, a window of 65536 tokens, 32 heads and blocks of 64 has parts of 16384 tokens. Parts round
  // differently from the whole, so another number gives other bits.
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

// A window to learn from.
struct TaughtWindow {
  Window ids;
  // The positions before the tokens of answers, at which the model looks something up. Their rows get a
  // larger weight (row_weights.h).
  std::span<const int64_t> answers = {};
};

// One thread at a time. If there are several ranks, each has a Trainer, which trains the gates of its heads.
// Rank 0 makes the calls below; the other ranks call follow() with each message that rank 0 sends. Losses and
// norms are summed over ranks in the order of ranks, so that all ranks take the same step.
class Trainer {
 public:
  static constexpr uint32_t kCommandMessage = Decoder::kStepMessage + 64;  // beyond RankMessage's kinds

  // `model` must be loaded, on a device with a Distillation; it needs no cache and no decoder. `comm` may be
  // null if there is one rank. `plan` is that of the whole gates. `model`, `plan` and `comm` must outlive the
  // trainer. Throws Error{kMemory}, and Error{kUnsupported} for more ranks than can divide the gates.
  Trainer(const Model& model, const GatePlan& plan, const TrainerOptions& options, uint64_t seed,
          Communicator* comm = nullptr);
  ~Trainer();

  // Learns from some windows. `go_on` is called before each of them, and may throw; weights and state are
  // then those before the step. Throws Error{kRuntime} if a loss or the gradient is not finite, with the
  // layer and the step.
  StepReport step(std::span<const TaughtWindow> windows, const std::function<void()>& go_on);
  // Returns the mean losses of the layers without learning. `on_scores` may be empty; Lesson says what it
  // gets. It gets scores and truth of rank 0's heads alone.
  using ScoresObserver = std::function<void(int64_t layer, const Tensor& scores, const Tensor& truth)>;
  std::vector<double> evaluate(Window window, const ScoresObserver& on_scores);
  // Does the same, and adds to `points` what rules would keep, for the heads of all ranks.
  std::vector<double> measure(Window window, HeldOutPoints* points);

  int64_t n_done() const { return n_done_; }
  const ScoredRows& rows() const { return rows_; }
  // Returns the first token of a window from which gates learn.
  int64_t first_token() const { return rows_.first * tokens_of_row(); }
  // States, gradients and weights are those of the whole gates.
  TrainerState state();
  // Returns the gradient of the last step, before it was clipped.
  std::vector<float> gradients();
  void set_state(const TrainerState& state);
  // Replaces the gates' weights alone.
  void set_weights(const std::vector<float>& weights);
  // Returns the learning rate of a step, counted from 0: a warm-up times a cosine.
  double rate_of(int64_t step) const;

  // Does what a message of kStepMessage or kCommandMessage says. Must be called on ranks other than 0.
  void follow(const Message& message);

 private:
  enum class Command {
    kBegin,
    kWeighRows,
    kFinish,
    kEvaluate,
    kEvaluated,
    kState,
    kGradients,
    kSetState,
    kSetWeights
  };
  // Tells the other ranks to make the same call. Does nothing on ranks other than 0.
  void command(Command what, int64_t value = 0);

  // Each of these is called on every rank.
  void begin(int64_t n_windows);
  // Takes the weights of the next window's rows, which rank 0 has.
  void weigh_rows(std::vector<float> weights);
  StepReport finish();
  void begin_evaluation(const ScoresObserver& on_scores);
  // Sums `points` over ranks too.
  std::vector<double> finish_evaluation(HeldOutPoints* points);
  void scatter_state(TrainerState state);
  // Sums the gradients of the numbers that every rank has.
  void share_gradients();
  // Takes a step of AdamW by gradients that are clipped by `squares`, each layer's sum of squares.
  void update(const std::vector<double>& squares, double learning_rate);
  // Returns the numbers of all ranks on rank 0, and nothing on the others.
  std::vector<float> gather(const Tensor& t) const;
  // Writes this rank's part of the numbers of all gates, which rank 0 has.
  void scatter(const Tensor& t, std::vector<float> whole) const;

  void weigh_answers(std::span<const int64_t> answers);
  void forward(Window window);
  // Calls run(). If it throws, adds the step's number to this rank's error.
  void in_step(const std::function<void()>& run) const;
  bool leads() const { return comm_->rank() == 0; }
  int64_t tokens_of_row() const { return plan_.decode() ? 1 : plan_.block(); }

  const Model& model_;
  const GatePlan& plan_;
  std::unique_ptr<Communicator> alone_;  // null if a communicator was given
  Communicator* comm_;
  GateShare share_;
  TrainerOptions options_;
  ScoredRows rows_;
  Distillation* device_;
  ModelConfig one_layer_;  // the model with one layer, for the cache
  std::vector<int32_t> page_table_;
  Tensor weights_, gradients_, moments_, second_moments_;  // [n_layers, this rank's layer_size]
  Lesson lesson_;
  int64_t n_windows_ = 0, n_done_ = 0;
  HeldOutPoints points_;  // of ranks other than 0, in one window
  Buffer buffer_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace seer
