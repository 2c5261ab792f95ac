// The gradients of gates that learn are finite differences of their losses, in every form of gate.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "models/distill/row_weights.h"
#include "tests/models/distill_runner.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::decode_spec;
using testing::DistillRunner;
using testing::prefill_spec;
using testing::TinyModel;
using testing::TinyShape;

using Direction = std::vector<double>;

double norm(const Direction& d) { return std::sqrt(std::inner_product(d.begin(), d.end(), d.begin(), 0.0)); }

using Loss = std::function<double(DistillRunner* runner)>;

// The derivative of the loss along a direction of length 1: central differences of two widths, of which the
// error of third order is taken away.
double slope(DistillRunner* runner, const std::vector<float>& at, const Direction& direction,
             const Loss& loss) {
  const auto loss_at = [&](double step) {
    std::vector<float> weights = at;
    for (size_t i = 0; i < weights.size(); ++i) weights[i] += static_cast<float>(step * direction[i]);
    runner->trainer().set_weights(weights);
    return loss(runner);
  };
  const auto central = [&](double step) { return (loss_at(step) - loss_at(-step)) / (2.0 * step); };
  constexpr double kStep = 0.02;
  return (4.0 * central(kStep) - central(2.0 * kStep)) / 3.0;
}

// Weights of the size that they have after some training, so that no gradient is a matter of noise.
std::vector<float> some_weights(const GatePlan& plan) {
  std::vector<float> weights = plan.first_weights(7);
  uint64_t random = 3;
  for (float& w : weights) w += 0.2F * testing::next_random(&random);
  return weights;
}

// KL(truth || softmax of n scores), in float64.
double divergence(const float* scores, const float* truth, int64_t n) {
  double total = 0.0, loss = 0.0;
  for (int64_t b = 0; b < n; ++b) total += std::exp(static_cast<double>(scores[b]));
  for (int64_t b = 0; b < n; ++b)
    if (truth[b] > 0.0F)
      loss += truth[b] * (std::log(static_cast<double>(truth[b])) - scores[b] + std::log(total));
  return loss;
}

// The sum of the layers' losses, of which each row of the first window has a weight, as a mean over both
// windows.
double weighted_loss(DistillRunner* runner, const std::vector<float>& weights) {
  const ScoredRows& rows = runner->trainer().rows();
  double total = 0.0;
  for (const size_t window : {0, 1})
    runner->trainer().evaluate(
        runner->window(window), [&](int64_t, const Tensor& scores, const Tensor& truth) {
          std::vector<float> s(static_cast<size_t>(scores.numel())), t(s.size());
          runner->backend().read(s.data(), scores);
          runner->backend().read(t.data(), truth);
          const int64_t n_rows = scores.dim(0) * rows.n, n_blocks = scores.dim(2);
          for (int64_t row = 0; row < n_rows; ++row) {
            const int64_t i = row % rows.n, n = std::min(n_blocks, rows.visible(i));
            const double weight = window == 0 ? weights[static_cast<size_t>(i)] : 1.0;
            total += weight * divergence(s.data() + row * n_blocks, t.data() + row * n_blocks, n) /
                     static_cast<double>(n_rows) / 2.0;
          }
        });
  return total;
}

// `answers` are positions in the first window, whose rows count for more. Without them `loss` is that of the
// runner.
void check_gradient(
    const TinyShape& shape, const GateSpec& spec, const std::vector<int64_t>& answers = {},
    const Loss& loss = [](DistillRunner* runner) { return runner->loss(); }) {
  INFO(shape.architecture << ", " << spec.type << ", norms " << spec.norms << ", rotates " << spec.rotates
                          << ", size " << spec.d_gate);
  const TinyModel tiny(shape);
  DistillRunner runner(tiny, spec, /*learning_rate=*/0.0);
  const std::vector<float> at = some_weights(runner.plan());
  runner.trainer().set_weights(at);
  runner.step(answers);
  const std::vector<float> gradient = runner.trainer().gradients();
  uint64_t random = 5;
  for (const PlannedTensor& tensor : runner.plan().layer_tensors()) {
    INFO(tensor.name);
    for (int64_t l = 0; l < runner.plan().n_layers(); ++l) {
      INFO("layer " << l);
      const auto first = static_cast<size_t>(l * runner.plan().layer_size() + tensor.first);
      Direction along(at.size(), 0.0), across(at.size(), 0.0);
      for (size_t i = first; i < first + static_cast<size_t>(tensor.size()); ++i) {
        along[i] = gradient[i];
        across[i] = testing::next_random(&random);
      }
      const double size = norm(along);
      REQUIRE(size > 1e-3);
      for (Direction* direction : {&along, &across}) {
        const double length = norm(*direction);
        double expected = 0.0;
        for (size_t i = 0; i < at.size(); ++i) expected += ((*direction)[i] /= length) * gradient[i];
        CHECK(std::abs(slope(&runner, at, *direction, loss) - expected) < 1e-3 * size);
      }
    }
  }
}

TEST_CASE("gradients of gates for prompts are finite differences") {
  const TinyShape llama;
  check_gradient(llama, prefill_spec("Qavg_Kmaxminavg"));
  check_gradient(llama, prefill_spec("Qmaxminavg_Kmin"));
  check_gradient(llama, prefill_spec("Qavg_Kmaxavg", 16));
  check_gradient(llama, prefill_spec("Qmin_Kavg", 0, true));
}

TEST_CASE("gradients of gates for decoding are finite differences") {
  const TinyShape llama;
  for (const char* type : {"Qproj_Kmaxminavg", "Qavgproj_Kavg", "Qavg_Kmaxmin"})
    for (const bool norms : {false, true}) check_gradient(llama, decode_spec(type, norms));
  check_gradient(llama, decode_spec("Qproj_Kmaxminavg", true, false));
}

TEST_CASE("gradients are finite differences in families with norms of heads and with biases") {
  TinyShape qwen3, qwen2;
  qwen3.architecture = "Qwen3ForCausalLM";
  qwen2.architecture = "Qwen2ForCausalLM";
  check_gradient(qwen3, decode_spec("Qproj_Kmaxminavg"));
  check_gradient(qwen3, prefill_spec("Qavg_Kmaxminavg"));
  check_gradient(qwen2, decode_spec("Qavg_Kmaxminavg"));
}

TEST_CASE("gradients are finite differences if rows of answers count for more, and losses stay plain means") {
  const TinyShape llama;
  const TinyModel tiny(llama);
  const GateSpec spec = decode_spec("Qproj_Kmaxminavg");
  const std::vector<int64_t> answers = {70, 71, 127};
  DistillRunner plain(tiny, spec, 0.0), weighted(tiny, spec, 0.0);
  const std::vector<float> weights = row_weights(plain.trainer().rows(), 1, answers);
  REQUIRE(weights.size() == 64);
  check_gradient(llama, spec, answers, [&](DistillRunner* runner) { return weighted_loss(runner, weights); });

  const std::vector<double> losses = plain.step().losses;
  CHECK((weighted.step(answers).losses == losses));
  CHECK((weighted.trainer().gradients() != plain.trainer().gradients()));
  // The next step has no answers.
  plain.step();
  weighted.step();
  CHECK((weighted.trainer().gradients() == plain.trainer().gradients()));
}

TEST_CASE("training lowers the loss of every layer, by the same bits for any number of threads") {
  const TinyModel tiny;
  for (const GateSpec& spec : {prefill_spec("Qavg_Kmaxminavg"), decode_spec("Qproj_Kmaxminavg")}) {
    DistillRunner one(tiny, spec, 0.01, 1), three(tiny, spec, 0.01, 3);
    const std::vector<double> before = one.trainer().evaluate(one.window(), {});
    for (int i = 0; i < 10; ++i) {
      CHECK((one.step().losses == three.step().losses));
    }
    const std::vector<double> after = one.trainer().evaluate(one.window(), {});
    for (size_t l = 0; l < before.size(); ++l) CHECK(after[l] < 0.95 * before[l]);
    CHECK((one.trainer().state().weights == three.trainer().state().weights));
  }
}

TEST_CASE("a loss that is not finite is refused with the step and the layer") {
  const TinyModel tiny;
  DistillRunner runner(tiny, prefill_spec("Qavg_Kmaxminavg"), 1e38);
  std::string message;
  try {
    for (int i = 0; i < 3; ++i) runner.step();
  } catch (const Error& error) {
    message = error.what();
  }
  CHECK_THAT(message, ContainsSubstring("step 2: layer 0: the loss is not a finite number"));
}

}  // namespace
}  // namespace seer
