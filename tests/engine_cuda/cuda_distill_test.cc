// Training of gates on a GPU through the library's interface, with the demo model.
#include <filesystem>
#include <vector>

#include "seer/distill.h"
#include "tests/engine_cuda/evaluation.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

namespace fs = std::filesystem;
using testing::refusal;
using testing::TempDir;

class Distilling {
 public:
  Distilling() : tokens_(testing::document_tokens(*Engine::load(testing::demo_options("cpu")), 4000)) {}

  DistillOptions options(const char* out, const char* device, GateKind kind = GateKind::kPrefill) const {
    DistillOptions o;
    o.model_dir = testing::demo_options(device).model_dir;
    o.out_dir = path(out).string();
    o.device = device;
    o.kind = kind;
    o.window = 512;
    o.batch = 2;
    o.steps = 4;
    o.warm_up = 1;
    o.learning_rate = 0.003;
    return o;
  }
  fs::path path(const char* out) const { return dir_.path() / out; }
  std::string weights(const char* out) const {
    return testing::read_file(path(out) / "attn_gate_weights.safetensors");
  }
  const std::vector<int32_t>& tokens() const { return tokens_; }

  // Returns the layers' losses of each step.
  std::vector<std::vector<double>> losses(DistillOptions options) const {
    std::vector<std::vector<double>> all;
    options.on_step = [&](const DistillStep& step) { all.push_back(step.layer_losses); };
    distill(options, tokens_, {});
    return all;
  }

 private:
  TempDir dir_;
  std::vector<int32_t> tokens_;
};

// A GPU rounds activations to bf16. With pages in bf16, and inputs of products rounded to bf16, the CPU's own
// losses of these steps change by 0.8% at most; a GPU rounds the results of products as well.
TEST_CASE("cuda: training from the same seed has the CPU's losses in every layer, and they fall") {
  if (!testing::have_gpu()) return;
  const Distilling d;
  for (const GateKind kind : {GateKind::kPrefill, GateKind::kDecode}) {
    const bool decode = kind == GateKind::kDecode;
    INFO((decode ? "decode" : "prefill"));
    const auto actual = d.losses(d.options(decode ? "gpu-decode" : "gpu", "cuda", kind)),
               expected = d.losses(d.options(decode ? "cpu-decode" : "cpu", "cpu", kind));
    REQUIRE(actual.size() == 4);
    for (size_t i = 0; i < actual.size(); ++i)
      for (size_t l = 0; l < actual[i].size(); ++l) {
        INFO("step " << i << ", layer " << l);
        CHECK(actual[i][l] == Approx(expected[i][l]).epsilon(0.05));
      }
    DistillStep first, last;
    first.layer_losses = actual.front();
    last.layer_losses = actual.back();
    CHECK(last.loss() < first.loss());
  }
}

TEST_CASE("cuda: a training run that was stopped and resumed gives the bits of an unbroken one") {
  if (!testing::have_gpu()) return;
  const Distilling d;
  for (const GateKind kind : {GateKind::kPrefill, GateKind::kDecode}) {
    const bool decode = kind == GateKind::kDecode;
    INFO((decode ? "decode" : "prefill"));
    const char *whole = decode ? "whole-decode" : "whole", *parts = decode ? "parts-decode" : "parts";
    CHECK(distill(d.options(whole, "cuda", kind), d.tokens(), {}).n_done == 4);
    DistillOptions options = d.options(parts, "cuda", kind);
    int n_windows = 0;
    options.go_on = [&] { return ++n_windows <= 5; };  // in the middle of step 3
    const DistillResult first = distill(options, d.tokens(), {});
    CHECK(first.stopped);
    CHECK(first.n_done == 2);
    options.go_on = {};
    options.resume = true;
    CHECK(distill(options, d.tokens(), {}).n_done == 4);
    CHECK((d.weights(parts) == d.weights(whole)));
  }
}

#ifdef SEER_HAVE_NCCL
// Ranks add up a layer's outputs in another order, and round the sum to bf16.
TEST_CASE("cuda: two ranks have one GPU's losses, and resumed they have the bits of an unbroken run") {
  if (!testing::have_gpu()) return;
  testing::prepare_gpu_ranks(2);
  const Distilling d;
  for (const GateKind kind : {GateKind::kPrefill, GateKind::kDecode}) {
    const bool decode = kind == GateKind::kDecode;
    INFO((decode ? "decode" : "prefill"));
    const char *whole = decode ? "ranks-decode" : "ranks",
               *parts = decode ? "parts-ranks-decode" : "parts-ranks";
    DistillOptions options = d.options(whole, "cuda", kind);
    options.ranks = Ranks::start(2, {SEER_BINARY});
    const auto actual = d.losses(options),
               expected = d.losses(d.options(decode ? "one-decode" : "one", "cuda", kind));
    REQUIRE(actual.size() == 4);
    for (size_t i = 0; i < actual.size(); ++i)
      for (size_t l = 0; l < actual[i].size(); ++l) {
        INFO("step " << i << ", layer " << l);
        CHECK(actual[i][l] == Approx(expected[i][l]).epsilon(0.05));
      }
    options.out_dir = d.path(parts).string();
    int n_windows = 0;
    options.go_on = [&] { return ++n_windows <= 5; };  // in the middle of step 3
    CHECK(distill(options, d.tokens(), {}).n_done == 2);
    options.go_on = {};
    options.resume = true;
    CHECK(distill(options, d.tokens(), {}).n_done == 4);
    CHECK((d.weights(parts) == d.weights(whole)));
  }
}
#endif

TEST_CASE("cuda: a checkpoint of the CPU is not resumed on a GPU, whose bits differ") {
  if (!testing::have_gpu()) return;
  const Distilling d;
  DistillOptions options = d.options("gates", "cpu");
  options.go_on = [] { return false; };
  CHECK(distill(options, d.tokens(), {}).stopped);
  options.go_on = {};
  options.resume = true;
  options.device = "cuda";
  const std::string message = refusal(ErrorKind::kUsage, [&] { distill(options, d.tokens(), {}); });
  CHECK(message.find("device") != std::string::npos);
}

}  // namespace
}  // namespace seer
