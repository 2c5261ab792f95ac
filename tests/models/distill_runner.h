// A tiny model whose gates are trained.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/distill/trainer.h"
#include "tests/models/decoder_runner.h"
#include "tests/models/tiny_model.h"

namespace seer::testing {

inline Model loaded_model(const std::string& dir, std::unique_ptr<Backend> backend, int rank = 0,
                          int n_ranks = 1) {
  Model model({dir, "", "", "", 0, WeightFormat::kStored});
  const DType kv_dtype = backend->kv_dtypes().front();
  model.open(std::move(backend), Shard(model.config(), rank, n_ranks), kv_dtype);
  model.load({});
  return model;
}

// Blocks of 16 tokens, windows of 128.
class DistillRunner {
 public:
  static constexpr int64_t kWindow = 128;

  DistillRunner(const TinyModel& tiny, const GateSpec& spec, double learning_rate, int n_threads = 2)
      : DistillRunner(tiny, spec, options(learning_rate), make_cpu_backend(n_threads)) {}
  DistillRunner(const TinyModel& tiny, const GateSpec& spec, const TrainerOptions& options,
                std::unique_ptr<Backend> backend)
      : model_(loaded_model(tiny.path(), std::move(backend))),
        plan_(spec, tiny.path(), model_.config()),
        trainer_(model_, plan_, options, 1) {
    for (uint64_t i = 0; i < 2; ++i)
      windows_.push_back(random_ids(kWindow, model_.config().n_vocab, 100 + i));
  }

  static TrainerOptions options(double learning_rate) {
    TrainerOptions options;
    options.window = kWindow;
    options.n_steps = 10;
    options.warm_up = 0;
    options.learning_rate = learning_rate;
    return options;
  }
  // `answers` are of the first window.
  StepReport step(const std::vector<int64_t>& answers = {}) {
    const std::vector<TaughtWindow> both = {{windows_[0], answers}, {windows_[1]}};
    return trainer_.step(both, {});
  }
  // The sum of the layers' losses, as a mean over both windows.
  double loss() {
    double total = 0.0;
    for (const std::vector<int32_t>& window : windows_)
      for (const double layer : trainer_.evaluate(window, {})) total += layer / 2.0;
    return total;
  }
  const std::vector<int32_t>& window(size_t i = 0) const { return windows_[i]; }
  Trainer& trainer() { return trainer_; }
  const GatePlan& plan() const { return plan_; }
  Backend& backend() const { return model_.backend(); }
  const ModelConfig& config() const { return model_.config(); }

 private:
  Model model_;
  GatePlan plan_;
  Trainer trainer_;
  std::vector<std::vector<int32_t>> windows_;
};

// Gate specs of every form, for a tiny model.
inline GateSpec prefill_spec(const std::string& type, int64_t d_gate = 0, bool force_double = false) {
  GateSpec spec;
  spec.type = type;
  spec.block = 16;
  spec.d_gate = d_gate;
  spec.force_double = force_double;
  return spec;
}
inline GateSpec decode_spec(const std::string& type, bool norms = true, bool rotates = true) {
  GateSpec spec;
  spec.decode = true;
  spec.type = type;
  spec.block = 16;
  spec.norms = norms;
  spec.rotates = rotates;
  return spec;
}

}  // namespace seer::testing
