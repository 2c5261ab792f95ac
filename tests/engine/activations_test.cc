// EngineOptions::activations: inputs of products that a CPU rounds to bf16, and what is refused.
#include "engine/src/activations.h"

#include <cmath>

#include "kernels/cpu/simd/simd.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
#include "tests/models/tiny_model.h"
#include "tests/support/catch.h"
#include "tests/support/forced_simd.h"
#include "tests/support/test_data.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using testing::demo_options;
using testing::document;
using testing::error_of;
using testing::greedy;
using testing::Ids;
using testing::kDense;
using testing::kThreshold;
using testing::TinyModel;
using testing::TinyShape;

std::string load_error(const EngineOptions& options) {
  return error_of([&] { Engine::load(options); });
}

EngineOptions rounding_options(int64_t ctx_size) {
  EngineOptions options = demo_options(ctx_size, 128);
  options.activations = "bf16";
  return options;
}

// Marks the case as skipped if it returns false.
bool can_round() {
  if (simd::functions().product_bf16 != nullptr) return true;
  testing::skip("the processor has no AVX512-BF16");
  return false;
}

double perplexity(const std::vector<PositionLogprobs>& positions) {
  double sum = 0.0;
  for (const PositionLogprobs& p : positions) sum += p.token.logprob;
  return std::exp(-sum / static_cast<double>(positions.size()));
}

TEST_CASE(
    "activations that are not there, or that a GPU does not have, are refused before any file is read") {
  EngineOptions options;
  options.model_dir = "no-such-folder";
  for (const char* type : {"", "Auto", "f16", "BF16", "fp8", "int8"}) {
    options.activations = type;
    CHECK_THAT(load_error(options), ContainsSubstring("usage: ") && ContainsSubstring("auto, f32 or bf16") &&
                                        ContainsSubstring("found '" + std::string(type) + "'"));
  }
  for (const char* device : {"cuda", "cuda:1"}) {
    options.device = device;
    options.activations = "f32";
    CHECK_THAT(load_error(options), ContainsSubstring("unsupported: ") &&
                                        ContainsSubstring("device '" + std::string(device) + "'") &&
                                        ContainsSubstring("Leave out --activations, or use --device cpu"));
    for (const char* type : {"auto", "bf16"}) {
      options.activations = type;
      CHECK_THAT(load_error(options), ContainsSubstring("no-such-folder"));
    }
  }
}

TEST_CASE("a CPU has all three activations, and rounds with bf16 alone") {
  EngineOptions options = demo_options(128);
  CHECK(options.activations == "auto");
  CHECK(Engine::load(options)->info().activations == "f32");
  options.activations = "f32";
  const auto exact = Engine::load(options);
  CHECK(exact->info().activations == "f32");
  CHECK_THAT(exact->info().device, !ContainsSubstring("bf16 inputs"));
  if (!can_round()) return;
  options.activations = "bf16";
  const auto rounding = Engine::load(options);
  CHECK(rounding->info().activations == "bf16");
  CHECK_THAT(rounding->info().device, ContainsSubstring(", bf16 inputs)"));
}

// One layer whose products have these types, each with as many weights as the others.
std::vector<LayerWeights> layer_of(DType qkv, DType output, DType gate_up, DType down, bool codes = false) {
  static float scale = 1.0F;
  const auto product = [&](DType dtype) {
    LinearWeights::Part part{Tensor(nullptr, dtype, {64, 64}), {}};
    if (codes) part.scale = Tensor(&scale, DType::kF32, {1, 1});
    return LinearWeights{{part}};
  };
  LayerWeights layer;
  layer.qkv = product(qkv);
  layer.output = product(output);
  layer.gate_up = product(gate_up);
  layer.down = product(down);
  return {layer};
}

TEST_CASE("activations of bf16 are refused on a CPU if most of the layers' weights are F16 or F32") {
  const auto cpu = make_cpu_backend(1);
  const auto check = [&](Activations activations, const std::vector<LayerWeights>& layers) {
    check_activations(activations, *cpu, layers);
  };
  const Activations rounded = Activations::kBF16;
  constexpr DType kBF16 = DType::kBF16;
  for (const DType exact : {DType::kF16, DType::kF32}) {
    for (const auto& layers : {layer_of(exact, exact, exact, exact), layer_of(kBF16, exact, exact, exact)}) {
      CHECK_THAT(error_of([&] { check(rounded, layers); }),
                 ContainsSubstring("unsupported: ") &&
                     ContainsSubstring(std::string("weights of ") + dtype_name(exact)) &&
                     ContainsSubstring("Use --weights bf16, or --activations f32."));
      CHECK_NOTHROW(check(Activations::kF32, layers));
      CHECK_NOTHROW(check(Activations::kAuto, layers));
    }
    CHECK_NOTHROW(check(rounded, layer_of(exact, exact, kBF16, kBF16)));
  }
  CHECK_NOTHROW(check(rounded, layer_of(kBF16, kBF16, kBF16, kBF16)));
  for (const DType code : {DType::kF8E4M3, DType::kI8, DType::kU4})
    CHECK_NOTHROW(check(rounded, layer_of(code, code, code, code, true)));
}

TEST_CASE("activations of bf16 are refused on a processor without AVX512-BF16") {
  testing::ForcedSimd forced;
  forced.set("avx2");
  CHECK_THAT(load_error(rounding_options(128)), ContainsSubstring("unsupported: ") &&
                                                    ContainsSubstring("expected one with AVX512-BF16") &&
                                                    ContainsSubstring("Use --activations f32."));
}

TEST_CASE("activations of bf16 move the demo model's perplexity by less than 0.1%, but do move it",
          "[long]") {
  if (!can_round()) return;
  const auto exact = testing::load_demo(2048, 128), rounding = Engine::load(rounding_options(2048));
  for (const SparseRule& rule : {kDense, kThreshold}) {
    GenerateRequest request = greedy(document(2000), 8, rule);
    request.n_prompt_logprobs = 0;
    const GenerateResult wanted = exact->new_session()->generate(request),
                         found = rounding->new_session()->generate(request);
    CHECK(found.tokens.size() == 8);
    CHECK(found.prompt_logprobs.size() == 1999);
    const double expected = perplexity(wanted.prompt_logprobs), rounded = perplexity(found.prompt_logprobs);
    CHECK(rounded == Approx(expected).epsilon(1e-3));
    CHECK(rounded != expected);
  }
}

// Decode steps round nothing, so the two engines can only differ in the prompt's keys and values.
TEST_CASE("a prompt of one row is computed as without rounding") {
  if (!can_round()) return;
  const auto exact = testing::load_demo(128), rounding = Engine::load(rounding_options(128));
  CHECK(rounding->new_session()->generate(greedy(document(1), 40)).tokens ==
        exact->new_session()->generate(greedy(document(1), 40)).tokens);
}

TEST_CASE("weights that are rounded while loading take activations of bf16: int4 and fp8") {
  if (!can_round()) return;
  GenerateRequest request = greedy(document(1000), 8, kThreshold);
  request.n_prompt_logprobs = 0;
  for (const char* weights : {"int4", "fp8"}) {
    INFO(weights);
    const auto found = [&](const char* activations) {
      EngineOptions options = rounding_options(1024);
      options.weights = weights;
      options.activations = activations;
      const auto engine = Engine::load(options);
      CHECK_THAT(engine->model().quantisation, ContainsSubstring(std::string("--weights ") + weights));
      const GenerateResult result = engine->new_session()->generate(request);
      CHECK(result.tokens.size() == 8);
      return perplexity(result.prompt_logprobs);
    };
    const double exact = found("f32"), rounded = found("bf16");
    CHECK(rounded == Approx(exact).epsilon(1e-3));
    CHECK(rounded != exact);
  }
}

// More than half of its weights are the embedding and lm_head, which `--weights` leaves in F32.
TinyShape wide_shape() {
  TinyShape shape;
  shape.d_model = 64;
  shape.d_ff = 64;
  shape.n_vocab = 1000;
  return shape;
}

std::vector<float> logprobs_of_prompt(const TinyModel& model, const char* weights, const char* activations) {
  EngineOptions options;
  options.model_dir = model.path();
  options.device = "cpu";
  options.threads = 2;
  options.ctx_size = 256;
  options.weights = weights;
  options.activations = activations;
  Ids prompt;
  for (int32_t i = 0; i < 120; ++i) prompt.push_back(i * 37 % 1000);
  GenerateRequest request = greedy(prompt, 1);
  request.n_prompt_logprobs = 0;
  std::vector<float> logprobs;
  for (const PositionLogprobs& p : Engine::load(options)->new_session()->generate(request).prompt_logprobs)
    logprobs.push_back(p.token.logprob);
  REQUIRE(logprobs.size() == 119);
  return logprobs;
}

TEST_CASE("layers of an F32 checkpoint round inputs if they are loaded in a format that does") {
  if (!can_round()) return;
  const TinyModel model(wide_shape());
  CHECK_THAT(error_of([&] { logprobs_of_prompt(model, "auto", "bf16"); }),
             ContainsSubstring("layers' weights of F32") && ContainsSubstring("Use --weights bf16"));
  for (const char* weights : {"bf16", "fp8", "int4"}) {
    INFO(weights);
    const std::vector<float> exact = logprobs_of_prompt(model, weights, "f32"),
                             rounded = logprobs_of_prompt(model, weights, "bf16");
    CHECK(rounded != exact);
    for (size_t i = 0; i < exact.size(); ++i) CHECK(rounded[i] == Approx(exact[i]).margin(0.1));
  }
}

// Layers that add nothing to the embedding leave lm_head's inputs the same, whatever they round.
TEST_CASE("lm_head in F32 rounds no inputs though layers do, and lm_head in BF16 rounds them") {
  if (!can_round()) return;
  const TinyModel model(wide_shape());
  std::vector<testing::NamedTensor> tensors = model.tensors();
  for (testing::NamedTensor& t : tensors)
    if (t.name.find("o_proj") != std::string::npos || t.name.find("down_proj") != std::string::npos)
      t = testing::zero_tensor(t.name, t.dtype, t.shape);
  model.write_tensors(tensors);
  CHECK(logprobs_of_prompt(model, "bf16", "bf16") == logprobs_of_prompt(model, "bf16", "f32"));
  for (testing::NamedTensor& t : tensors) {
    if (t.name != "lm_head.weight") continue;
    std::string upper_halves;  // of little-endian float32 numbers, which are bf16 numbers
    for (size_t i = 0; i < t.bytes.size(); i += 4) upper_halves += t.bytes.substr(i + 2, 2);
    t.dtype = "BF16";
    t.bytes = upper_halves;
  }
  model.write_tensors(tensors);
  CHECK(logprobs_of_prompt(model, "bf16", "bf16") != logprobs_of_prompt(model, "bf16", "f32"));
}

TEST_CASE("ranks round as one does") {
  if (!can_round()) return;
  EngineOptions options = rounding_options(1024);
  const auto alone = Engine::load(options);
  GenerateRequest request = greedy(document(700), 2);
  request.n_prompt_logprobs = 0;
  const std::vector<PositionLogprobs> expected = alone->new_session()->generate(request).prompt_logprobs;
  // A rank that did not round would be this far away.
  const double exact =
      perplexity(testing::load_demo(1024, 128)->new_session()->generate(request).prompt_logprobs);
  for (const RankSplit split : {RankSplit::kTensor, RankSplit::kContext}) {
    options.ranks = Ranks::start(2, {SEER_BINARY});
    options.rank_split = split;
    options.threads = 1;
    const double found = perplexity(Engine::load(options)->new_session()->generate(request).prompt_logprobs);
    CHECK(std::abs(found - perplexity(expected)) < std::abs(exact - perplexity(expected)));
  }
}

}  // namespace
}  // namespace seer
