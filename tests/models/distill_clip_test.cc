// Gradients are clipped to a norm, over all gates together or layer by layer.
#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "tests/models/distill_runner.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::DistillRunner;
using testing::TinyModel;

double norm(std::span<const float> values) {
  double sum = 0.0;
  for (const float x : values) sum += static_cast<double>(x) * x;
  return std::sqrt(sum);
}

class Clipping {
 public:
  explicit Clipping(const GateSpec& spec) : spec_(spec) {
    DistillRunner runner(tiny_, spec_, DistillRunner::options(0.01), make_cpu_backend(2));
    runner.step();
    const std::vector<float> gradients = runner.trainer().gradients();
    for (int64_t l = 0; l < runner.plan().n_layers(); ++l)
      norms_.push_back(norm(std::span(gradients).subspan(static_cast<size_t>(l * runner.plan().layer_size()),
                                                         static_cast<size_t>(runner.plan().layer_size()))));
  }

  const std::vector<double>& layer_norms() const { return norms_; }
  double whole_norm() const { return std::hypot(norms_[0], norms_[1]); }

  // After the first step, the first moments are a tenth of the clipped gradients.
  void check(bool clips_layers, double max_norm, const std::vector<double>& scales) const {
    INFO(spec_.type << (clips_layers ? ", by layers" : ", all together") << ", to " << max_norm);
    TrainerOptions options = DistillRunner::options(0.01);
    options.clips_layers = clips_layers;
    options.max_norm = max_norm;
    DistillRunner runner(tiny_, spec_, options, make_cpu_backend(2));
    CHECK(runner.step().gradient_norm == Approx(whole_norm()).epsilon(1e-9));
    const std::vector<float> gradients = runner.trainer().gradients(),
                             moments = runner.trainer().state().moments;
    for (size_t i = 0; i < moments.size(); ++i) {
      const double scale = scales[i / static_cast<size_t>(runner.plan().layer_size())],
                   expected = 0.1 * scale * gradients[i];
      if (std::abs(moments[i] - expected) > 1e-5 * std::abs(expected)) {
        INFO("number " << i);
        CHECK(moments[i] == Approx(expected));
        return;
      }
    }
  }

 private:
  TinyModel tiny_;
  GateSpec spec_;
  std::vector<double> norms_;
};

TEST_CASE("gradients are clipped over all gates together, or each layer's by themselves") {
  for (const GateSpec& spec :
       {testing::prefill_spec("Qavg_Kmaxminavg"), testing::decode_spec("Qproj_Kmaxminavg")}) {
    const Clipping clipping(spec);
    const std::vector<double>& norms = clipping.layer_norms();
    REQUIRE(norms.size() == 2);
    REQUIRE(std::abs(norms[0] - norms[1]) > 0.02 * norms[0]);
    // Between the norms of the two layers: only the larger one is clipped.
    const double between = std::sqrt(norms[0] * norms[1]);
    clipping.check(true, between, {std::min(1.0, between / norms[0]), std::min(1.0, between / norms[1])});
    clipping.check(false, between, {between / clipping.whole_norm(), between / clipping.whole_norm()});
    // Above both of them, but not above their common norm.
    const double above = 0.5 * (std::max(norms[0], norms[1]) + clipping.whole_norm());
    clipping.check(true, above, {1.0, 1.0});
    clipping.check(false, above, {above / clipping.whole_norm(), above / clipping.whole_norm()});
  }
}

}  // namespace
}  // namespace seer
