// The gradients of gates that learn are finite differences of their losses, in every form of gate.
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

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

// The derivative of the loss along a direction of length 1: central differences of two widths, of which the
// error of third order is taken away.
double slope(DistillRunner* runner, const std::vector<float>& at, const Direction& direction) {
  const auto loss_at = [&](double step) {
    std::vector<float> weights = at;
    for (size_t i = 0; i < weights.size(); ++i) weights[i] += static_cast<float>(step * direction[i]);
    runner->trainer().set_weights(weights);
    return runner->loss();
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

void check_gradient(const TinyShape& shape, const GateSpec& spec) {
  INFO(shape.architecture << ", " << spec.type << ", norms " << spec.norms << ", rotates " << spec.rotates
                          << ", size " << spec.d_gate);
  const TinyModel tiny(shape);
  DistillRunner runner(tiny, spec, /*learning_rate=*/0.0);
  const std::vector<float> at = some_weights(runner.plan());
  runner.trainer().set_weights(at);
  runner.step();
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
        CHECK(std::abs(slope(&runner, at, *direction) - expected) < 1e-3 * size);
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
