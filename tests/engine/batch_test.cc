// Many requests at once on the demo model: each gives what it gives alone.

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kBatchContext = kSanitized ? 1024 : 8192, kLongestPrompt = kBatchContext - 192;

std::vector<GenerateRequest> mixed_requests() {
  const Ids text = document(9000);
  const int64_t lengths[] = {1,   63,  64,  65,  127, 128, 129, 200, 300, kLongestPrompt,
                             600, 40,  80,  333, 140, 30,  90,  61,  500, 17,
                             257, 450, 100, 192, 384, 5,   3,   576, 33,  66,
                             99,  150};
  const SparseRule rules[] = {kDense, SparseRule::parse("threshold=0.01"), kNzRatio, kNzRatioRow};
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 32; ++i) {
    const int64_t from = 31 * i;
    requests.push_back(greedy(slice(text, from, from + lengths[i]), 8 + 7 * (i % 5), rules[i % 3]));
  }
  return requests;
}

struct Run {
  std::vector<GenerateResult> results;
  EngineStats stats;
};

Run run_together(const EngineOptions& options, const std::vector<GenerateRequest>& requests) {
  const auto engine = Engine::load(options);
  std::vector<std::unique_ptr<Generation>> running;
  running.reserve(requests.size());
  for (const GenerateRequest& request : requests) running.push_back(engine->submit(request));
  Run run;
  for (const auto& generation : running) run.results.push_back(generation->wait());
  run.stats = engine->stats();
  return run;
}

TEST_CASE("32 requests of one token to nearly a context, dense and sparse, give what each gives alone",
          "[long]") {
  const std::vector<GenerateRequest> requests = mixed_requests();
  std::vector<GenerateResult> alone;
  {
    const auto engine = load_demo(kBatchContext, 512);
    for (const GenerateRequest& request : requests) alone.push_back(engine->new_session()->generate(request));
  }
  struct Case {
    const char* name;
    int64_t pool_size, mixed_chunk_size;
    bool prefix_cache;
  };
  for (const Case& c :
       {Case{"room for all", 40960, 0, false}, Case{"a short pool, cached", kBatchContext, 128, true}}) {
    INFO(c.name);
    EngineOptions options = demo_options(kBatchContext, 512);
    options.pool_size = c.pool_size;
    options.mixed_chunk_size = c.mixed_chunk_size;
    options.prefix_cache = c.prefix_cache;
    const Run together = run_together(options, requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      INFO("request " << i);
      CHECK(together.results[i].tokens == alone[i].tokens);
      CHECK(together.results[i].text == alone[i].text);
    }
    CHECK(together.stats.pages_used == 0);
    CHECK(together.stats.n_finished == 32);
  }
}

TEST_CASE("in a pool of one context requests are pre-empted, and give what each gives alone") {
  // Six answers that outgrow the pool although their prompts fit.
  const Ids text = document(2000);
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 6; ++i)
    requests.push_back(greedy(slice(text, 100 * i, 100 * i + 70 + 23 * i), 100,
                              i % 2 == 0 ? kDense : SparseRule::parse("threshold=0.01")));
  EngineOptions options = demo_options(320, 64);
  const auto engine = Engine::load(options);
  std::vector<Ids> alone;
  alone.reserve(requests.size());
  for (const GenerateRequest& request : requests)
    alone.push_back(engine->new_session()->generate(request).tokens);
  for (const bool prefix_cache : {false, true}) {
    options.prefix_cache = prefix_cache;
    const Run together = run_together(options, requests);
    for (size_t i = 0; i < requests.size(); ++i) CHECK(together.results[i].tokens == alone[i]);
    CHECK(together.stats.n_preempted > 0);
    CHECK(together.stats.pages_used == 0);
  }
}

TEST_CASE("a session takes pages that another's request left, and gives the same tokens") {
  EngineOptions options = demo_options(1024, 64);
  options.prefix_cache = true;
  const auto engine = Engine::load(options);
  const Ids text = document(600);
  for (const SparseRule& rule : {kDense, kThreshold}) {
    const GenerateResult cold = engine->new_session()->generate(greedy(text, 12, rule));
    const GenerateResult warm = engine->new_session()->generate(greedy(text, 12, rule));
    CHECK(cold.stats.n_cached == 0);
    CHECK(warm.stats.n_cached == (rule == kDense ? 576 : 512));  // ten blocks, the last two of them dense
    CHECK(warm.tokens == cold.tokens);
    CHECK(engine->submit(greedy(text, 12, rule))->wait().stats.n_cached == warm.stats.n_cached);
  }
  const EngineStats stats = engine->stats();
  CHECK(stats.pages_used == 0);
  CHECK(stats.pages_cached > 0);
  CHECK(stats.cached_tokens == 2 * (576 + 512));
  // An evaluation wants the logits of every position, so it computes them all.
  EvaluateRequest evaluate;
  evaluate.tokens = text;
  CHECK(engine->new_session()->evaluate(evaluate).n_cached == 0);
}

TEST_CASE("a second turn may write into its open page though the first turn's pages are shared") {
  EngineOptions options = demo_options(1024, 64);
  options.prefix_cache = true;
  const auto engine = Engine::load(options);
  const auto plain = load_demo(1024, 64);
  const Ids text = document(600);
  const auto session = engine->new_session(), reference = plain->new_session();
  GenerateRequest request = greedy(slice(text, 0, 120), 40);
  int64_t n = 0;
  request.on_token = [&](const TokenEvent&) { return ++n % 12 != 0; };  // ends inside a page that fills up
  for (int turn = 0; turn < 4; ++turn) {
    n = 0;
    const GenerateResult a = session->generate(request);
    n = 0;
    const GenerateResult b = reference->generate(request);
    CHECK(a.tokens == b.tokens);
    CHECK(a.finish == FinishReason::kCancelled);
    CHECK(session->tokens() == reference->tokens());
    request.prompt = slice(text, 200 + 10 * turn, 210 + 10 * turn);
    // Meanwhile another session reads the pages.
    const Ids whole = session->tokens();
    CHECK(engine->new_session()->generate(greedy(whole, 5)).tokens ==
          plain->new_session()->generate(greedy(whole, 5)).tokens);
  }
}

TEST_CASE("submit refuses at once what can never run") {
  const auto engine = load_demo(256);
  CHECK_THAT(error_of([&] { engine->submit(greedy(document(257), 1)); }),
             ContainsSubstring("usage: ") && ContainsSubstring("257 tokens") && ContainsSubstring("256"));
  CHECK_THAT(error_of([&] { engine->submit(greedy({}, 1)); }), ContainsSubstring("empty"));
  CHECK_THAT(error_of([&] { engine->submit(greedy({4096}, 1)); }), ContainsSubstring("0 to 4095"));
  GenerateRequest request = greedy({5}, 1);
  request.sampling.top_p = 2.0;
  CHECK_THAT(error_of([&] { engine->submit(request); }), ContainsSubstring("top_p"));
  CHECK(engine->stats().n_requests == 0);
  CHECK(engine->submit(greedy(document(256), -1))->wait().finish == FinishReason::kContextFull);
}

TEST_CASE("sizes of batch and pool out of range are usage errors that say what was expected") {
  const auto refused = [](int64_t EngineOptions::*field, int64_t value) {
    EngineOptions options = demo_options(256);
    options.*field = value;
    return error_of([&] { Engine::load(options); });
  };
  CHECK_THAT(refused(&EngineOptions::mixed_chunk_size, 100),
             ContainsSubstring("usage: ") && ContainsSubstring("multiple of the gate block of 64") &&
                 ContainsSubstring("100"));
  CHECK_THAT(refused(&EngineOptions::mixed_chunk_size, -64), ContainsSubstring("-64"));
  CHECK_THAT(refused(&EngineOptions::max_batch_size, -1), ContainsSubstring("1 to 1024"));
  CHECK_THAT(refused(&EngineOptions::max_batch_size, 1025), ContainsSubstring("1025"));
  CHECK_THAT(refused(&EngineOptions::pool_size, -5), ContainsSubstring("-5"));
  CHECK_THAT(refused(&EngineOptions::pool_size, 255),
             ContainsSubstring("at least the context's 256") && ContainsSubstring("--pool-size"));
}

TEST_CASE("the sizes that an engine says are those that were asked for") {
  EngineOptions options = demo_options(0);
  options.pool_size = 1000;
  options.max_batch_size = 3;
  options.mixed_chunk_size = 128;
  options.chunk_size = 256;
  options.prefix_cache = true;
  const EngineInfo info = Engine::load(options)->info();
  CHECK(info.ctx_size == 1000);  // what fits the pool
  CHECK(info.n_pages == 16);
  CHECK(info.max_batch_size == 3);
  CHECK(info.mixed_chunk_size == 128);
  CHECK(info.prefix_cache);
  const EngineInfo standard = load_demo(256)->info();
  CHECK(standard.mixed_chunk_size == 64);
  CHECK(standard.max_batch_size == 16);
  CHECK(standard.n_pages == 4);
}

}  // namespace
}  // namespace seer
