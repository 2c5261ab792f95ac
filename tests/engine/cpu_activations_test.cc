// Inputs of products that a CPU rounds to bf16, if EngineOptions::cpu_activations says so.
#include "engine/src/cpu_activations.h"

#include <cmath>

#include "kernels/cpu/simd/simd.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
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
using testing::kDense;
using testing::kThreshold;

std::string load_error(const EngineOptions& options) {
  return error_of([&] { Engine::load(options); });
}

EngineOptions rounding_options(int64_t ctx_size) {
  EngineOptions options = demo_options(ctx_size, 128);
  options.cpu_activations = "bf16";
  return options;
}

// Marks the case as skipped where it is false.
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

TEST_CASE("CPU activations that are not there, or meant for a GPU, are refused before any file is read") {
  EngineOptions options;
  options.model_dir = "no-such-folder";
  for (const char* type : {"", "auto", "f16", "BF16", "int8"}) {
    options.cpu_activations = type;
    CHECK_THAT(load_error(options), ContainsSubstring("usage: ") && ContainsSubstring("f32 or bf16") &&
                                        ContainsSubstring("found '" + std::string(type) + "'"));
  }
  options.cpu_activations = "bf16";
  for (const char* device : {"cuda", "cuda:1"}) {
    options.device = device;
    CHECK_THAT(load_error(options),
               ContainsSubstring("unsupported: ") &&
                   ContainsSubstring("device '" + std::string(device) + "'") &&
                   ContainsSubstring("Use --device cpu, or leave out --cpu-activations"));
  }
}

TEST_CASE("CPU activations of bf16 are refused with weights whose products would not round them") {
  for (const char* weights : {"F16", "F32"}) {
    CHECK_THAT(error_of([&] { check_cpu_activations(DType::kBF16, weights); }),
               ContainsSubstring("unsupported: ") &&
                   ContainsSubstring(std::string("weights of ") + weights) &&
                   ContainsSubstring("Use --cpu-activations f32"));
    check_cpu_activations(DType::kF32, weights);
  }
  for (const char* weights : {"BF16", "F8_E4M3", "I8", "int4"}) check_cpu_activations(DType::kBF16, weights);
}

TEST_CASE("CPU activations of bf16 are refused on a processor without AVX512-BF16") {
  testing::ForcedSimd forced;
  forced.set("avx2");
  CHECK_THAT(load_error(rounding_options(128)), ContainsSubstring("unsupported: ") &&
                                                    ContainsSubstring("expected one with AVX512-BF16") &&
                                                    ContainsSubstring("Use --cpu-activations f32."));
}

TEST_CASE("CPU activations of bf16 move the demo model's perplexity by less than 0.1%, but do move it") {
  if (!can_round()) return;
  const auto exact = testing::load_demo(2048, 128), rounding = Engine::load(rounding_options(2048));
  CHECK(exact->info().cpu_activations == "f32");
  CHECK(rounding->info().cpu_activations == "bf16");
  CHECK_THAT(rounding->info().device, ContainsSubstring(", bf16 inputs)"));
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

// Decode steps round nothing, so that all that the two engines may differ in is the prompt's keys and values.
TEST_CASE("a prompt of one row is computed as without rounding") {
  if (!can_round()) return;
  const auto exact = testing::load_demo(128), rounding = Engine::load(rounding_options(128));
  CHECK(rounding->new_session()->generate(greedy(document(1), 40)).tokens ==
        exact->new_session()->generate(greedy(document(1), 40)).tokens);
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
