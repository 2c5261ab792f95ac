// Ways to stop a request, the state of the session afterwards, and that it still works.
#include <atomic>
#include <stdexcept>
#include <thread>

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;

// Checks that the session gives the same tokens for `prompt` added to its own as a new one gives for all of
// them.
void check_works(Engine& engine, Session& session, const Ids& prompt, const SparseRule& rule) {
  const Ids all = join(session.tokens(), prompt);
  const Ids expected = engine.new_session()->generate(greedy(all, 8, rule)).tokens;
  CHECK(session.generate(greedy(prompt, 8, rule)).tokens == expected);
  CHECK(session.tokens() == join(all, expected));
}

void cancel_from_another_thread(Session* session) {
  std::thread([&] { session->cancel(); }).join();
}

TEST_CASE("a cancel during the prefill keeps the whole pages that were computed") {
  const auto engine = load_demo(2048, 64);
  const Ids text = document(500);
  for (const SparseRule& rule : {kDense, kThreshold, kNzRatio, kNzRatioRow}) {
    INFO(rule.to_string());
    const auto session = engine->new_session();
    GenerateRequest request = greedy(text, 8, rule);
    request.on_progress = [&](const PrefillProgress& p) {
      if (p.processed == 256) cancel_from_another_thread(session.get());
      return true;
    };
    const GenerateResult result = session->generate(request);
    CHECK(result.finish == FinishReason::kCancelled);
    CHECK(result.tokens.empty());
    CHECK(result.stats.n_prompt == 256);
    CHECK(session->tokens() == slice(text, 0, 256));
    check_works(*engine, *session, slice(text, 256, 500), rule);
  }
}

TEST_CASE("after a cancelled prefill a shorter prompt selects what it would from an empty session") {
  // These rows were sparse in a prompt of 500 tokens, and are the last two of one of 150, which are dense.
  const auto engine = load_demo(2048, 64);
  const Ids text = document(500);
  const SparseRule rule = SparseRule::parse("threshold=0.3");
  const auto session = engine->new_session();
  GenerateRequest request = greedy(text, 8, rule);
  request.on_progress = [](const PrefillProgress& p) { return p.processed < 128; };
  CHECK(session->generate(request).finish == FinishReason::kCancelled);
  CHECK(session->tokens() == slice(text, 0, 128));
  const GenerateResult result = session->generate(greedy(slice(text, 128, 150), 8, rule));
  CHECK(result.stats.n_cached == 64);
  CHECK(result.tokens == engine->new_session()->generate(greedy(slice(text, 0, 150), 8, rule)).tokens);
}

TEST_CASE("a cancel before the first chunk leaves an empty session") {
  const auto engine = load_demo(256);
  const auto session = engine->new_session();
  GenerateRequest request = greedy(document(100), 8);
  request.on_progress = [&](const PrefillProgress&) {
    session->cancel();
    return true;
  };
  CHECK(session->generate(request).finish == FinishReason::kCancelled);
  CHECK(session->tokens().empty());
  check_works(*engine, *session, document(100), kDense);
}

TEST_CASE("a cancel during decoding keeps the prompt and every token chosen") {
  const auto engine = load_demo(256);
  const Ids prompt = document(100);
  const Ids free = engine->new_session()->generate(greedy(prompt, 20)).tokens;
  const auto session = engine->new_session();
  GenerateRequest request = greedy(prompt, 20);
  int64_t n = 0;
  request.on_token = [&](const TokenEvent&) {
    if (++n == 5) cancel_from_another_thread(session.get());
    return true;
  };
  const GenerateResult result = session->generate(request);
  CHECK(result.finish == FinishReason::kCancelled);
  CHECK(result.tokens == slice(free, 0, 5));
  CHECK(result.stats.n_generated == 5);
  CHECK(session->tokens() == join(prompt, result.tokens));
  CHECK(session->generate(greedy({}, 15)).tokens == slice(free, 5, 20));
}

TEST_CASE("a callback that returns false stops as a cancel does") {
  const auto engine = load_demo(512);
  const Ids prompt = document(150);
  const Ids free = engine->new_session()->generate(greedy(prompt, 20)).tokens;
  const auto session = engine->new_session();
  GenerateRequest request = greedy(prompt, 20);
  request.on_token = [](const TokenEvent&) { return false; };
  const GenerateResult at_token = session->generate(request);
  CHECK(at_token.finish == FinishReason::kCancelled);
  CHECK(at_token.tokens == slice(free, 0, 1));
  check_works(*engine, *session, {}, kDense);

  session->reset();
  request = greedy(prompt, 20);
  request.on_progress = [](const PrefillProgress& p) { return p.processed == 0; };
  CHECK(session->generate(request).finish == FinishReason::kCancelled);
  CHECK(session->tokens() == slice(prompt, 0, 64));
  check_works(*engine, *session, slice(prompt, 64, 150), kDense);
}

TEST_CASE("false at the last token changes nothing: the generation was done") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(65), 3);
  int64_t n = 0;
  request.on_token = [&](const TokenEvent&) { return ++n < 3; };
  const GenerateResult result = engine->new_session()->generate(request);
  CHECK(result.finish == FinishReason::kLength);
  CHECK(result.tokens.size() == 3);
}

TEST_CASE("a cancel with nothing running is forgotten") {
  const auto engine = load_demo(256);
  const auto session = engine->new_session();
  session->cancel();
  CHECK(session->generate(greedy(document(65), 3)).finish == FinishReason::kLength);
  session->cancel();
  session->cancel();
  CHECK(session->generate(greedy({}, 3)).finish == FinishReason::kLength);
}

TEST_CASE("a cancelled evaluation is an error of that kind, from any of its callbacks") {
  const auto engine = load_demo(512, 64);
  const Ids text = document(300);
  const auto session = engine->new_session();
  EvaluateRequest by_progress;
  by_progress.tokens = text;
  by_progress.on_progress = [](const PrefillProgress& p) { return p.processed < 128; };
  CHECK_THAT(error_of([&] { session->evaluate(by_progress); }), ContainsSubstring("cancelled: "));
  CHECK(session->tokens() == slice(text, 0, 128));

  EvaluateRequest by_logits;
  by_logits.tokens = text;
  by_logits.n_last_logits = 0;
  int64_t reports = 0;
  by_logits.on_logits = [&](int64_t, int64_t, int64_t, const float*) { return ++reports < 2; };
  CHECK_THAT(error_of([&] { session->evaluate(by_logits); }), ContainsSubstring("cancelled: "));
  CHECK(reports == 2);
  check_works(*engine, *session, slice(text, 200, 300), kDense);
}

TEST_CASE("cancels that rain from another thread stop a generation once") {
  const auto engine = load_demo(4096);
  const auto session = engine->new_session();
  std::atomic<bool> done = false;
  GenerateRequest request = greedy(document(200), -1);
  std::atomic<int64_t> n = 0;
  request.on_token = [&](const TokenEvent&) { return ++n > 0; };
  std::thread other([&] {
    while (n < 3) std::this_thread::yield();
    while (!done) session->cancel();
  });
  const GenerateResult result = session->generate(request);
  done = true;
  other.join();
  CHECK(result.finish == FinishReason::kCancelled);
  CHECK(result.tokens.size() >= 3);
  CHECK(session->tokens() == join(document(200), result.tokens));
  check_works(*engine, *session, {}, kDense);
}

TEST_CASE("an exception of a callback passes, and the session holds what was computed") {
  const auto engine = load_demo(512, 64);
  const Ids text = document(200);
  for (const int64_t at : {0, 64, 128}) {
    INFO("thrown after " << at << " tokens");
    const auto session = engine->new_session();
    GenerateRequest request = greedy(text, 5);
    request.on_progress = [&](const PrefillProgress& p) {
      if (p.processed == at) throw std::runtime_error("mine");
      return true;
    };
    CHECK_THROWS_WITH(session->generate(request), "mine");
    CHECK(session->tokens() == slice(text, 0, at));
    check_works(*engine, *session, slice(text, at, 200), kDense);
  }
  const auto session = engine->new_session();
  GenerateRequest request = greedy(text, 5);
  request.on_token = [](const TokenEvent&) -> bool { throw std::runtime_error("mine"); };
  CHECK_THROWS_WITH(session->generate(request), "mine");
  CHECK(session->tokens().size() == 201);
  check_works(*engine, *session, {}, kDense);
}

}  // namespace
}  // namespace seer
