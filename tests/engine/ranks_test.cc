// An engine on several ranks, as a program uses it. The other ranks run seer itself.
#include "seer/ranks.h"

#include <cmath>
#include <stdexcept>

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/models/refusal.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::demo_options;
using testing::document;
using testing::greedy;
using testing::kDense;
using testing::kNzRatio;
using testing::kNzRatioRow;
using testing::kThreshold;
using testing::refusal;

EngineOptions on_ranks(const std::shared_ptr<Ranks>& ranks, int64_t ctx_size = 1024) {
  EngineOptions options = demo_options(ctx_size, 128);
  options.ranks = ranks;
  return options;
}

TEST_CASE("an engine on two ranks generates what one alone does, turn after turn") {
  const auto alone = testing::load_demo(1024, 128);
  const auto ranked = Engine::load(on_ranks(Ranks::start(2, {SEER_BINARY})));
  CHECK(ranked->info().n_ranks == 2);
  CHECK_THAT(ranked->info().device, ContainsSubstring(", 2 ranks"));
  CHECK(ranked->info().kv_bytes == alone->info().kv_bytes / 2);  // one of the model's two KV heads each
  CHECK(ranked->model().n_params == alone->model().n_params);
  for (const SparseRule& rule : {kDense, kThreshold, kNzRatio, kNzRatioRow}) {
    const auto one = alone->new_session(), two = ranked->new_session();
    for (const int64_t begin : {0, 400}) {
      const auto request = greedy(testing::slice(document(700), begin, begin + 300), 12, rule);
      const GenerateResult expected = one->generate(request), found = two->generate(request);
      CHECK(found.tokens == expected.tokens);
      CHECK(found.stats.density == Approx(expected.stats.density).epsilon(1e-6));
      CHECK(found.stats.n_cached == expected.stats.n_cached);
    }
  }
}

TEST_CASE("requests together on two ranks give what each gives alone, pre-empted ones too") {
  EngineOptions options = on_ranks(Ranks::start(2, {SEER_BINARY}), 512);
  options.pool_size = 768;  // too few pages for all at once
  const auto ranked = Engine::load(options);
  const auto alone = testing::load_demo(512, 128);
  std::vector<GenerateRequest> requests;
  for (const int64_t n : {1, 63, 64, 65, 200, 300, 129, 40})
    requests.push_back(greedy(testing::slice(document(700), n, 2 * n), 30, n % 2 == 0 ? kDense : kThreshold));
  testing::check_together(*ranked, *alone, requests);
  CHECK(ranked->stats().pages_used == 0);
}

// Prompts of several chunks in parallel; one asks for no tokens.
void check_logprobs(Engine& ranked, Engine& alone, double margin) {
  std::vector<GenerateRequest> requests;
  for (const int64_t n : {1, 65, 300, 400}) {
    GenerateRequest& request = requests.emplace_back(greedy(document(n), 6, n == 300 ? kThreshold : kDense));
    request.n_logprobs = 2;
    if (n != 400) request.n_prompt_logprobs = 2;
    if (n == 65)
      request.on_logits = [](std::span<const int32_t>, std::span<float> logits) { logits[9] = 1e4F; };
  }
  requests.push_back(greedy(document(200), 6));
  std::vector<std::unique_ptr<Generation>> running;
  running.reserve(requests.size());
  for (const GenerateRequest& request : requests) running.push_back(ranked.submit(request));
  const auto check = [margin](const std::vector<PositionLogprobs>& found,
                              const std::vector<PositionLogprobs>& other) {
    REQUIRE(found.size() == other.size());
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i].token.id == other[i].token.id);
      CHECK(found[i].token.logprob == Approx(other[i].token.logprob).margin(margin));
      REQUIRE(found[i].top.size() == other[i].top.size());
    }
  };
  for (size_t i = 0; i < requests.size(); ++i) {
    const GenerateResult found = running[i]->wait(), expected = alone.submit(requests[i])->wait();
    CHECK(found.tokens == expected.tokens);
    CHECK(found.prompt_logprobs.size() ==
          (requests[i].n_prompt_logprobs ? requests[i].prompt.size() - 1 : 0));
    check(found.prompt_logprobs, expected.prompt_logprobs);
    check(found.logprobs, expected.logprobs);
  }
}

TEST_CASE("log-probabilities and hooks are the same whether ranks divide the model, prompts or nothing") {
  const std::string type = GENERATE("f32", "bf16");
  const double margin = testing::logprob_margin(type);
  const auto alone = testing::load_demo(512, 128, type);
  EngineOptions options = on_ranks(Ranks::start(2, {SEER_BINARY}), 512);
  options.kv_cache_dtype = type;
  check_logprobs(*Engine::load(options), *alone, margin);
  options.ranks = Ranks::start(3, {SEER_BINARY});
  options.rank_split = RankSplit::kContext;
  options.threads = 1;
  check_logprobs(*Engine::load(options), *alone, margin);
}

TEST_CASE("ranks serve one engine after another, with other options, but not two at once") {
  const std::shared_ptr<Ranks> ranks = Ranks::start(2, {SEER_BINARY});
  const auto expected = testing::load_demo(256, 128)->new_session()->generate(greedy(document(40), 5)).tokens;
  for (const int64_t ctx_size : {256, 512}) {
    const auto engine = Engine::load(on_ranks(ranks, ctx_size));
    CHECK(engine->new_session()->generate(greedy(document(40), 5)).tokens == expected);
    CHECK_THAT(refusal(ErrorKind::kUsage, [&] { Engine::load(on_ranks(ranks)); }),
               ContainsSubstring("another engine's model"));
  }
  // An engine that is refused before the other ranks have heard of it does not affect them.
  EngineOptions wrong = on_ranks(ranks);
  wrong.chunk_size = 1;
  refusal(ErrorKind::kUsage, [&] { Engine::load(wrong); });
  CHECK(Engine::load(on_ranks(ranks))->new_session()->generate(greedy(document(40), 5)).tokens == expected);
}

TEST_CASE("a cancelled request, and a callback that throws, leave the ranks ready for the next") {
  const auto engine = Engine::load(on_ranks(Ranks::start(2, {SEER_BINARY})));
  const auto expected = engine->new_session()->generate(greedy(document(300), 5)).tokens;
  const auto session = engine->new_session();
  GenerateRequest stopped = greedy(document(300), 50);
  stopped.on_token = [](const TokenEvent&) { return false; };
  CHECK(session->generate(stopped).finish == FinishReason::kCancelled);
  EvaluateRequest evaluate;
  evaluate.tokens = document(300);
  evaluate.sparse = kThreshold;
  evaluate.n_last_logits = 0;
  evaluate.on_gate = [](const GateRows&) { throw std::logic_error("the observer's own"); };
  CHECK_THROWS_WITH(session->evaluate(evaluate), "the observer's own");
  evaluate.on_gate = {};
  evaluate.on_logits = [](int64_t, int64_t, int64_t, const float*) -> bool {
    throw std::logic_error("the reader's own");
  };
  CHECK_THROWS_WITH(session->evaluate(evaluate), "the reader's own");
  CHECK(engine->new_session()->generate(greedy(document(300), 5)).tokens == expected);
}

TEST_CASE("a load that is cancelled ends the ranks, and the next engine on them says why") {
  const std::shared_ptr<Ranks> ranks = Ranks::start(2, {SEER_BINARY});
  EngineOptions options = on_ranks(ranks);
  options.on_load = [](const LoadProgress&) { return false; };
  refusal(ErrorKind::kCancelled, [&] { Engine::load(options); });
  CHECK_THAT(refusal(ErrorKind::kCancelled, [&] { Engine::load(on_ranks(ranks)); }),
             ContainsSubstring("rank 0 did not load the model"));
}

TEST_CASE("rank 0 cannot follow, and timeouts between ranks are positive") {
  const std::shared_ptr<Ranks> ranks = Ranks::start(2, {SEER_BINARY});
  CHECK(ranks->rank() == 0);
  CHECK(ranks->size() == 2);
  CHECK_THAT(refusal(ErrorKind::kUsage, [&] { ranks->follow(); }), ContainsSubstring("rank 0 leads"));
  for (const double seconds : {0.0, -1.0, 1e9, std::nan("")})
    refusal(ErrorKind::kUsage, [&] { ranks->set_timeout(seconds); });
  CHECK(Ranks::join() == nullptr);  // this process was started alone
}

}  // namespace
}  // namespace seer
