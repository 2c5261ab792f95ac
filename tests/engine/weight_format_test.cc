// EngineOptions::weights: matrices rounded while the model is loaded.
#include <cmath>
#include <fstream>

#include "seer/engine.h"
#include "seer/ranks.h"
#include "tests/engine/demo.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using testing::demo_options;
using testing::document;
using testing::greedy;
using testing::refusal;

EngineOptions options_with(const std::string& weights) {
  EngineOptions options = demo_options(512, 128);
  options.weights = weights;
  return options;
}

// The mean negative log-probability of a document's tokens, in nats.
double mean_loss(Engine& engine) {
  GenerateRequest request = greedy(document(400), 1);
  request.n_prompt_logprobs = 0;
  double sum = 0.0;
  const GenerateResult result = engine.new_session()->generate(request);
  for (const PositionLogprobs& position : result.prompt_logprobs) sum -= position.token.logprob;
  REQUIRE(result.prompt_logprobs.size() == 399);
  return sum / 399;
}

TEST_CASE("weights that are rounded while loading say what they are and change little") {
  const auto plain = Engine::load(options_with("auto"));
  const double loss = mean_loss(*plain);
  struct Row {
    const char *weights, *dtype, *text;
    double bits, most;  // bits per parameter of all weights together; how much worse a token may be
  };
  // The embedding, which is also lm_head, stays in bf16: 1.05 of 5.77 million parameters.
  for (const Row& row :
       {Row{"fp8", "F8_E4M3", "--weights fp8: 42 of 42 linear layers, 8.10 bits a weight", 9.54, 0.02},
        Row{"int4", "int4", "--weights int4: 42 of 42 linear layers, 4.25 bits a weight", 6.39, 0.2}}) {
    INFO(row.weights);
    const auto engine = Engine::load(options_with(row.weights));
    const ModelInfo& model = engine->model();
    CHECK(model.dtype == row.dtype);
    CHECK_THAT(model.quantisation, ContainsSubstring(row.text));
    CHECK_THAT(model.quantisation, ContainsSubstring("rounded to nearest while loading, not calibrated"));
    CHECK(model.n_params == plain->model().n_params);
    CHECK(8.0 * static_cast<double>(model.n_bytes) / static_cast<double>(model.n_params) ==
          Approx(row.bits).margin(0.01));
    const double rounded = mean_loss(*engine);
    CHECK(rounded != loss);
    CHECK(std::fabs(rounded - loss) < row.most);
  }
}

TEST_CASE("weights as bf16 leave a bf16 checkpoint as it is") {
  const auto plain = Engine::load(options_with("auto")), same = Engine::load(options_with("bf16"));
  CHECK(same->model().dtype == "BF16");
  CHECK(same->model().quantisation.empty());
  CHECK(same->model().n_bytes == plain->model().n_bytes);
  CHECK(mean_loss(*same) == mean_loss(*plain));
}

TEST_CASE("ranks round the parts that they hold: two of them have one's groups of int4") {
  const auto ranks = Ranks::start(2, {SEER_BINARY});
  // If inputs are divided among ranks, fp8's scale of an output is that of a rank's own inputs.
  for (const auto& [weights, margin] : {std::pair("int4", 1e-5), std::pair("fp8", 1e-2)}) {
    INFO(weights);
    EngineOptions options = options_with(weights);
    const auto alone = Engine::load(options);
    options.ranks = ranks;
    const auto ranked = Engine::load(options);
    CHECK(ranked->model().quantisation == alone->model().quantisation);
    CHECK(mean_loss(*ranked) == Approx(mean_loss(*alone)).epsilon(margin));
  }
}

TEST_CASE("random weights are rounded too") {
  EngineOptions options;
  options.random_config = (testing::demo_model() / "model" / "config.json").string();
  options.ctx_size = 256;
  options.threads = 2;
  options.device = "cpu";
  const auto tokens = [&](const char* weights) {
    options.weights = weights;
    const auto engine = Engine::load(options);
    return engine->new_session()->generate(greedy(document(40), 8)).tokens;
  };
  CHECK(tokens("fp8").size() == 8);
  CHECK(tokens("int4") == tokens("int4"));
}

TEST_CASE("a format that is not there is refused by name before any file is read") {
  EngineOptions options;
  options.model_dir = "no-such-folder";
  for (const char* weights : {"", "q4_0", "FP8", "float8"}) {
    options.weights = weights;
    CHECK_THAT(refusal(ErrorKind::kUsage, [&] { Engine::load(options); }),
               ContainsSubstring("auto, bf16, fp8 or int4, found '" + std::string(weights) + "'"));
  }
  for (const char* weights : {"int8", "nf4", "fp4", "f16"}) {
    options.weights = weights;
    CHECK_THAT(refusal(ErrorKind::kUnsupported, [&] { Engine::load(options); }),
               ContainsSubstring(std::string(weights) + " are not made while loading"));
  }
}

TEST_CASE("a checkpoint that is quantised already is not quantised again") {
  const auto folder = testing::test_data("quant");
  if (!folder) return;
  for (const char* weights : {"bf16", "fp8", "int4"}) {
    EngineOptions options;
    options.model_dir = (*folder / "awq-g128").string();
    options.device = "cpu";
    options.weights = weights;
    CHECK_THAT(refusal(ErrorKind::kUnsupported, [&] { Engine::load(options); }),
               ContainsSubstring("found one that is quantised already (awq") &&
                   ContainsSubstring("Leave out --weights."));
  }
}

}  // namespace
}  // namespace seer
