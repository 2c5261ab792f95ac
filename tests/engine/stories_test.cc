// A real TinyStories Llama (head size 8) against a float64 reference: greedy ids and last logits.
#include <cmath>
#include <nlohmann/json.hpp>

#include "seer/engine.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

TEST_CASE("stories260K: greedy ids equal the reference and the last logits are within 1e-3") {
  const auto dir = testing::test_data("stories260K");
  if (!dir) return;
  EngineOptions options;
  options.model_dir = dir->string();
  options.threads = 2;
  options.kv_cache_dtype = "f32";  // the reference rounds nothing
  const auto engine = Engine::load(options);
  const auto reference = nlohmann::json::parse(testing::read_file(*dir / "reference_outputs.json"));
  CHECK(reference["cases"].size() > 0);
  for (const auto& c : reference["cases"]) {
    const std::string prompt = c["prompt"];
    INFO(prompt);
    const auto expected = c["greedy_ids"].get<std::vector<int32_t>>();
    GenerateRequest request;
    request.prompt = engine->tokenizer().encode(prompt);
    request.sampling.temperature = 0.0;
    request.ignore_eos = true;
    request.max_new_tokens = static_cast<int64_t>(expected.size() - request.prompt.size());
    std::string streamed;
    request.on_token = [&](const TokenEvent& event) {
      streamed += event.text;
      return true;
    };
    const auto session = engine->new_session();
    const GenerateResult result = session->generate(request);
    CHECK(session->tokens() == expected);
    CHECK(streamed == result.text);

    EvaluateRequest evaluate;
    evaluate.tokens = c["prompt_ids"].get<std::vector<int32_t>>();
    double worst = 0.0;
    evaluate.on_logits = [&](int64_t, int64_t, int64_t n_vocab, const float* logits) {
      for (int64_t i = 0; i < n_vocab; ++i)
        worst = std::max(worst,
                         std::abs(logits[i] - c["last_prompt_logits"][static_cast<size_t>(i)].get<double>()));
      return true;
    };
    engine->new_session()->evaluate(evaluate);
    CHECK(worst < 1e-3);
  }
}

}  // namespace
}  // namespace seer
