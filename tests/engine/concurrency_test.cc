// Many threads at once: submits, cancels, sessions and evaluations. The cases are small, because
// ThreadSanitizer runs them too.
#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "seer/engine.h"
#include "tests/engine/demo.h"
#include "tests/engine/fake_engine.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using namespace testing;

TEST_CASE("cancels at random moments from other threads leak no page", "[threads]") {
  FakeOptions options;
  options.n_pages = 60;
  options.prefix_cache = GENERATE(false, true);
  FakeEngine engine(options);
  const SparseRule rules[] = {kDense, kThreshold, kNzRatio, kNzRatioRow};
  std::atomic<int64_t> n_wrong = 0, n_done = 0;
  const auto client = [&](uint64_t seed) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < 40; ++i) {
      GenerateRequest request = fake_request(fake_ids(1 + static_cast<int64_t>(random() % 200), random() % 5),
                                             1 + static_cast<int64_t>(random() % 60), rules[random() % 3]);
      const uint64_t cancel_after = random() % 60;
      const bool wait_for_it = random() % 2 == 0;  // otherwise the cancel races with the following steps
      std::atomic<uint64_t> n = 0;
      std::atomic<bool> cancelled = false;
      request.on_token = [&](const TokenEvent&) {
        while (++n >= cancel_after && wait_for_it && !cancelled) std::this_thread::yield();
        return true;
      };
      const auto generation = engine.submit(request);
      while (n < cancel_after && !generation->done()) std::this_thread::yield();
      generation->cancel();
      cancelled = true;
      const GenerateResult result = generation->wait();
      const Ids all = engine.expected(request);
      if (!std::equal(result.tokens.begin(), result.tokens.end(), all.begin())) ++n_wrong;
      if (result.finish == FinishReason::kLength && result.tokens != all) ++n_wrong;
      ++n_done;
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) threads.emplace_back(client, i);
  for (std::thread& thread : threads) thread.join();
  CHECK(n_done == 160);
  CHECK(n_wrong == 0);
  const EngineStats stats = engine.stats();
  CHECK(stats.n_finished + stats.n_cancelled == 160);
  CHECK(stats.n_cancelled > 10);
  CHECK(stats.pages_used == 0);
  CHECK(stats.n_running + stats.n_waiting == 0);
}

TEST_CASE("generations dropped, cancelled and awaited by several threads end once", "[threads]") {
  FakeEngine engine;
  for (int i = 0; i < 30; ++i) {
    const GenerateRequest request = fake_request(fake_ids(20, static_cast<uint64_t>(i)), 300);
    const std::shared_ptr<Generation> generation = engine.submit(request);
    GenerateResult seen[2];
    std::thread a([&] { seen[0] = generation->wait(); });
    std::thread b([&] { seen[1] = generation->wait(); });
    std::thread c([&] { generation->cancel(); });
    engine.submit(request) = nullptr;
    for (std::thread* thread : {&a, &b, &c}) thread->join();
    CHECK(seen[0].tokens == seen[1].tokens);
  }
  engine.submit(fake_request({1}, 1))->wait();
  CHECK(engine.stats().pages_used == 0);
  CHECK(engine.stats().n_requests == 61);
}

TEST_CASE("sessions, submitted requests and evaluations at once give what each gives alone", "[threads]") {
  EngineOptions options = demo_options(512, 64);
  options.pool_size = 1024;
  options.prefix_cache = true;
  const auto engine = Engine::load(options);
  const Ids text = document(700);
  const Ids a = slice(text, 0, 130), b = slice(text, 50, 210), c = slice(text, 300, 400);
  const auto session_run = [&] {
    const auto session = engine->new_session();
    GenerateRequest request = greedy(a, 20, kThreshold);
    int64_t events = 0;
    request.on_token = [&](const TokenEvent&) { return ++events > 0; };
    request.on_progress = [&](const PrefillProgress&) { return ++events > 0; };
    const Ids first = session->generate(request).tokens;
    return join(first, session->generate(greedy(slice(text, 600, 620), 10, kThreshold)).tokens);
  };
  const auto evaluate_run = [&] {
    EvaluateRequest request;
    request.tokens = c;
    float sum = 0.0F;
    request.on_logits = [&](int64_t, int64_t, int64_t n_vocab, const float* logits) {
      for (int64_t i = 0; i < n_vocab; ++i) sum += logits[i];
      return true;
    };
    engine->new_session()->evaluate(request);
    return sum;
  };
  const auto submit_run = [&] { return engine->submit(greedy(b, 25))->wait().tokens; };
  const Ids session_alone = session_run(), submit_alone = submit_run();
  const float evaluate_alone = evaluate_run();
  for (int round = 0; round < 2; ++round) {
    Ids sessions[2], submitted[2];
    float evaluated = 0.0F;
    std::vector<std::thread> threads;
    for (Ids& out : sessions) threads.emplace_back([&] { out = session_run(); });
    for (Ids& out : submitted) threads.emplace_back([&] { out = submit_run(); });
    threads.emplace_back([&] { evaluated = evaluate_run(); });
    for (std::thread& thread : threads) thread.join();
    for (const Ids& out : sessions) CHECK(out == session_alone);
    for (const Ids& out : submitted) CHECK(out == submit_alone);
    CHECK(evaluated == evaluate_alone);
  }
  CHECK(engine->stats().pages_used == 0);
  CHECK(engine->stats().n_running + engine->stats().n_waiting == 0);
}

TEST_CASE("a session stopped by its callback next to others holds what the callback saw", "[threads]") {
  const auto engine = load_demo(512, 64);
  const Ids text = document(300);
  const Ids alone = engine->new_session()->generate(greedy(slice(text, 0, 100), 40)).tokens;
  const auto busy = engine->submit(greedy(slice(text, 100, 200), 300));
  const auto session = engine->new_session();
  GenerateRequest request = greedy(slice(text, 0, 100), 40);
  int64_t n = 0;
  request.on_token = [&](const TokenEvent&) {
    std::this_thread::yield();
    return ++n < 10;
  };
  const GenerateResult result = session->generate(request);
  CHECK(result.tokens == slice(alone, 0, 10));
  CHECK(result.stats.n_generated == 10);
  CHECK(session->tokens() == join(slice(text, 0, 100), result.tokens));
  CHECK(session->generate(greedy({}, 30)).tokens == slice(alone, 10, 40));
  busy->cancel();
}

TEST_CASE("a session is cancelled while it waits for a place", "[threads]") {
  EngineOptions options = demo_options(512, 64);
  options.max_batch_size = 1;
  const auto engine = Engine::load(options);
  const Ids text = document(200);
  const auto session = engine->new_session();
  session->generate(greedy(slice(text, 0, 70), 2));
  const Ids held = session->tokens();
  std::atomic<bool> begun = false;
  GenerateRequest endless = greedy(slice(text, 0, 10), 400);
  endless.on_token = [&](const TokenEvent&) { return begun = true; };
  const auto busy = engine->submit(endless);
  while (!begun) std::this_thread::yield();
  std::thread canceller([&] {
    while (engine->stats().n_waiting == 0 && !busy->done()) std::this_thread::yield();
    session->cancel();
  });
  const GenerateResult result = session->generate(greedy(slice(text, 70, 150), 5));
  canceller.join();
  busy->cancel();
  busy->wait();
  if (result.finish == FinishReason::kCancelled) CHECK(session->tokens() == held);
  CHECK(result.finish == FinishReason::kCancelled);
}

TEST_CASE("a callback that waits for another request does not stop the engine", "[threads]") {
  EngineOptions options = demo_options(512, 64);  // eight pages
  options.max_batch_size = 1;
  const auto engine = Engine::load(options);
  const Ids text = document(500);
  const Ids inner_alone = engine->submit(greedy(slice(text, 0, 400), 8))->wait().tokens;
  const Ids outer_alone = engine->submit(greedy(slice(text, 50, 350), 60))->wait().tokens;
  const auto session = engine->new_session();
  GenerateRequest request = greedy(slice(text, 50, 350), 60);
  Ids inner;
  int64_t n = 0;
  request.on_token = [&](const TokenEvent&) {
    // Both requests do not fit: the pages of the one that waits here must go to the other.
    if (++n == 3) inner = engine->submit(greedy(slice(text, 0, 400), 8))->wait().tokens;
    return true;
  };
  CHECK(session->generate(request).tokens == outer_alone);
  CHECK(inner == inner_alone);
  CHECK(engine->stats().n_preempted > 0);
}

TEST_CASE("a request that gives its pages to an older session that waits does not leave both waiting",
          "[threads]") {
  EngineOptions options = demo_options(512, 64);  // eight pages
  const auto engine = Engine::load(options);
  const Ids text = document(500);
  auto session = engine->new_session();
  session->generate(greedy(slice(text, 0, 100), 1));  // the session holds two pages
  std::atomic<bool> go = false, begun = false;
  GenerateRequest first = greedy(slice(text, 0, 150), 3);
  first.on_token = [&](const TokenEvent&) {
    begun = true;
    while (!go) std::this_thread::yield();
    return true;
  };
  const auto oldest = engine->submit(first);  // it takes three pages
  while (!begun) std::this_thread::yield();
  // The session's turn takes seven pages in all. It waits with its two, while the small request grows into
  // the rest.
  Ids turn;
  std::thread other([&] {
    turn = session->generate(greedy(slice(text, 100, 400), 4)).tokens;
    session = nullptr;
  });
  while (engine->stats().n_waiting == 0) std::this_thread::yield();
  const auto growing = engine->submit(greedy(slice(text, 0, 10), 440));
  go = true;
  oldest->wait();
  other.join();
  CHECK(turn.size() == 4);
  // When the request runs again, the session's pages are free, or still held if the request was faster than
  // that thread.
  try {
    const Ids grown = growing->wait().tokens;  // outside of CHECK(), which would catch the error
    CHECK(grown.size() == 440);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kMemory);
  }
  CHECK(engine->stats().n_preempted == 1);
  CHECK(engine->stats().pages_used == 0);
}

TEST_CASE("sessions are saved and loaded while other requests run, and all say what each says alone",
          "[threads]") {
  EngineOptions options = demo_options(256, 64);
  options.pool_size = 1024;
  const auto engine = Engine::load(options), alone = Engine::load(options);
  const TempDir dir;
  const GenerateRequest first = greedy(document(100), 3), more = greedy(slice(document(200), 150, 190), 4);
  const auto expected_session = alone->new_session();
  expected_session->generate(first);
  const Ids expected = expected_session->generate(more).tokens;
  const Ids other = alone->new_session()->generate(greedy(document(190), 20)).tokens;
  std::atomic<int> n_wrong = 0;
  const auto session = [&](int id) {
    const std::string file = (dir.path() / std::to_string(id)).string();
    auto saved = engine->new_session();
    saved->generate(first);
    for (int i = 0; i < 3; ++i) {
      saved->save(file);
      saved = engine->load_session(file);
    }
    if (saved->generate(more).tokens != expected) ++n_wrong;
  };
  std::vector<std::thread> threads;
  for (int id = 0; id < 2; ++id) threads.emplace_back(session, id);
  for (int i = 0; i < 4; ++i)
    if (engine->submit(greedy(document(190), 20))->wait().tokens != other) ++n_wrong;
  for (std::thread& thread : threads) thread.join();
  CHECK(n_wrong == 0);
  CHECK(engine->stats().pages_used == 0);
}

// A session may be destroyed as soon as generate() has returned. So generate() must not return while the
// engine's thread, which ended its request, still has to take it off its list. Another request's callback
// runs in between.
TEST_CASE("generate() of a session returns only after the engine has let go of its request", "[threads]") {
  const auto engine = Engine::load(demo_options(256, 64));
  std::atomic<bool> returned = false, too_early = false;
  int n_between = 0;
  GenerateRequest other = greedy(document(20), 200);
  other.on_token = [&](const TokenEvent&) {
    const EngineStats stats = engine->stats();
    if (stats.n_finished == 0 || stats.n_running < 2) return stats.n_finished == 0;
    ++n_between;
    for (int i = 0; i < 100 && !returned; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    too_early = returned.load();
    return false;
  };
  std::unique_ptr<Generation> submitted;
  GenerateRequest mine = greedy(document(30), 8);
  mine.on_token = [&](const TokenEvent&) {
    if (!submitted) submitted = engine->submit(other);  // so that the session's request comes first in a step
    return true;
  };
  auto session = engine->new_session();
  session->generate(mine);
  returned = true;
  session.reset();
  submitted->wait();
  CHECK(n_between == 1);
  CHECK_FALSE(too_early);
}

}  // namespace
}  // namespace seer
