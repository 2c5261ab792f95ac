// Gates that learn on a GPU, in every form, against the same gates on the CPU.
#include <cmath>
#include <string>
#include <vector>

#include "tests/kernels/gpu.h"
#include "tests/models/distill_runner.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::decode_spec;
using testing::DistillRunner;
using testing::prefill_spec;
using testing::TinyModel;
using testing::TinyShape;

// The GPU rounds activations, keys and pools to bf16, by 2^-9 each. Scores of size 5 are then off by some
// hundredths, and so are probabilities relative to themselves; a loss is a mean over hundreds of rows.
// Losses and gradients of wrong rows, heads or blocks would differ by more.
constexpr double kLoss = 0.05, kCosine = 0.97;

TinyShape gpu_shape(int64_t group, const std::string& architecture = "LlamaForCausalLM") {
  TinyShape shape;
  shape.n_heads = 2 * group;
  shape.d_head = 64;
  shape.d_model = 64;
  shape.d_ff = 96;
  shape.n_vocab = 64;
  shape.architecture = architecture;
  return shape;
}

double cosine(const std::vector<float>& a, const std::vector<float>& b) {
  double ab = 0.0, aa = 0.0, bb = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

// `answers` are positions in the first window, whose rows count for more.
void check_training(const TinyShape& shape, const GateSpec& spec, int64_t maxima_bytes = int64_t{1} << 30,
                    const std::vector<int64_t>& answers = {}) {
  INFO(shape.architecture << ", " << shape.n_heads << " heads, " << spec.type << ", norms " << spec.norms
                          << ", rotates " << spec.rotates << ", two weights " << spec.force_double
                          << ", room for " << maxima_bytes << " bytes of maxima");
  const TinyModel tiny(shape);
  TrainerOptions options = DistillRunner::options(0.003);
  options.maxima_bytes = maxima_bytes;
  DistillRunner device(tiny, spec, options, testing::gpu()), again(tiny, spec, options, testing::gpu()),
      cpu(tiny, spec, options, make_cpu_backend(2));
  for (int i = 0; i < 3; ++i) {
    INFO("step " << i);
    const StepReport actual = device.step(answers), expected = cpu.step(answers);
    REQUIRE(actual.losses.size() == expected.losses.size());
    for (size_t l = 0; l < actual.losses.size(); ++l)
      CHECK(actual.losses[l] == Approx(expected.losses[l]).epsilon(kLoss));
    CHECK(actual.gradient_norm == Approx(expected.gradient_norm).epsilon(2 * kLoss));
    CHECK(cosine(device.trainer().gradients(), cpu.trainer().gradients()) > kCosine);
    // The same run again has the same bits.
    CHECK(again.step(answers).losses == actual.losses);
    CHECK((again.trainer().gradients() == device.trainer().gradients()));
  }
  CHECK((again.trainer().state().weights == device.trainer().state().weights));
}

TEST_CASE("cuda: gates for prompts learn as on the CPU, with one weight and with two") {
  if (!testing::gpu()) return;
  for (const int64_t group : {1, 4}) check_training(gpu_shape(group), prefill_spec("Qavg_Kmaxminavg"));
  check_training(gpu_shape(7), prefill_spec("Qavg_Kavg"));
  check_training(gpu_shape(2), prefill_spec("Qmaxminavg_Kmin"));
  check_training(gpu_shape(2), prefill_spec("Qavg_Kmaxavg", 128));
  check_training(gpu_shape(2, "Qwen3ForCausalLM"), prefill_spec("Qmin_Kavg", 0, true));
}

TEST_CASE("cuda: gates for decoding learn as on the CPU, with norms and without") {
  if (!testing::gpu()) return;
  for (const char* type : {"Qproj_Kmaxminavg", "Qavgproj_Kavg", "Qavg_Kmaxmin"})
    for (const bool norms : {false, true}) check_training(gpu_shape(4), decode_spec(type, norms));
  check_training(gpu_shape(8), decode_spec("Qproj_Kmaxminavg", true, false));
  check_training(gpu_shape(2, "Qwen3ForCausalLM"), decode_spec("Qproj_Kmaxminavg"));
}

TEST_CASE("cuda: gates learn from rows of answers, which count for more, as on the CPU") {
  if (!testing::gpu()) return;
  check_training(gpu_shape(4), decode_spec("Qproj_Kmaxminavg"), int64_t{1} << 30, {70, 71, 127});
}

TEST_CASE("cuda: gates learn from parts of a window as on the CPU") {
  if (!testing::gpu()) return;
  for (const int64_t maxima_bytes : {1, 12000}) {
    check_training(gpu_shape(2), prefill_spec("Qavg_Kmaxminavg"), maxima_bytes);
    check_training(gpu_shape(2), decode_spec("Qproj_Kmaxminavg"), maxima_bytes);
  }
}

}  // namespace
}  // namespace seer
