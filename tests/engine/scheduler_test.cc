// The contents of steps: the turns of all requests, counted in steps, and the effect of a failed or cancelled
// request on others.
#include "engine/src/scheduler.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>

#include "seer/error.h"
#include "tests/engine/demo.h"
#include "tests/engine/fake_engine.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;

// Index of the first step in which `request` decodes or prefills.
int64_t first_step(const FakeEngine& engine, const Request* request, bool decode) {
  for (size_t i = 0; i < engine.runner.steps.size(); ++i) {
    const auto& in = decode ? engine.runner.steps[i].decode_of : engine.runner.steps[i].prefill_of;
    if (std::find(in.begin(), in.end(), request) != in.end()) return static_cast<int64_t>(i);
  }
  return -1;
}

GenerateResult wait(FakeEngine& engine, const std::shared_ptr<Request>& request) {
  return GenerationImpl(request, engine.scheduler->signals()).wait();
}

TEST_CASE("requests of every rule and length together give what each gives alone") {
  FakeOptions options;
  options.last_block_dense = GENERATE(true, false);
  FakeEngine engine(options);
  std::vector<GenerateRequest> requests;
  uint64_t seed = 0;
  for (const int64_t n : {1, 15, 16, 17, 31, 32, 33, 127, 128, 129, 500, 2000})
    for (const SparseRule& rule : {SparseRule{}, kThreshold, kNzRatio, kNzRatioRow}) {
      requests.push_back(fake_request(fake_ids(n, ++seed), 1 + n % 40, rule));
      requests.back().sampling.temperature = static_cast<double>(seed % 2);
      requests.back().sampling.seed = seed;
      if (seed % 3 == 0) requests.back().sparse_decode = seed % 2 == 0 ? kDecodeBudget : kDecodeThreshold;
    }
  std::vector<std::unique_ptr<Generation>> running;
  running.reserve(requests.size());
  for (const GenerateRequest& request : requests) running.push_back(engine.submit(request));
  for (size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i);
    const GenerateResult result = running[i]->wait();
    CHECK(running[i]->done());
    CHECK(result.tokens == engine.expected(requests[i]));
    CHECK(result.finish == FinishReason::kLength);
    CHECK(result.stats.n_prompt == static_cast<int64_t>(requests[i].prompt.size()));
    CHECK(running[i]->wait().tokens == result.tokens);  // a second wait returns the same answer
  }
  const EngineStats stats = engine.stats();
  CHECK(stats.n_finished == static_cast<int64_t>(requests.size()));
  CHECK(stats.n_requests == stats.n_finished);
  CHECK(stats.n_running + stats.n_waiting == 0);
  CHECK(stats.pages_used == 0);
  CHECK(stats.n_steps == static_cast<int64_t>(engine.runner.steps.size()));
  int64_t n_prompt = 0, n_generated = 0;
  for (const GenerateRequest& r : requests) {
    n_prompt += static_cast<int64_t>(r.prompt.size());
    n_generated += r.max_new_tokens;
  }
  CHECK(stats.prompt_tokens == n_prompt);
  CHECK(stats.generated_tokens == n_generated);
}

TEST_CASE("alone a prompt takes whole chunks, and next to a decode mixed ones") {
  FakeEngine engine;  // 128 and 32 tokens
  engine.runner.hold();
  const auto decode = engine.submit_raw(fake_request(fake_ids(5, 1), 30));
  const auto prompt = engine.submit_raw(fake_request(fake_ids(300, 2), 1));
  engine.runner.release();
  wait(engine, decode);
  wait(engine, prompt);
  const auto alone = engine.submit_raw(fake_request(fake_ids(300, 3), 1));
  wait(engine, alone);
  std::vector<int64_t> mixed, whole;
  for (const FakeStep& step : engine.runner.steps)
    for (size_t i = 0; i < step.prefills.size(); ++i) {
      if (step.prefill_of[i] == prompt.get() && !step.decode_of.empty()) mixed.push_back(step.prefills[i]);
      if (step.prefill_of[i] == alone.get()) whole.push_back(step.prefills[i]);
    }
  REQUIRE(mixed.size() > 4);
  CHECK(std::all_of(mixed.begin(), mixed.end() - 1, [](int64_t n) { return n == 32; }));
  CHECK(whole == std::vector<int64_t>{128, 128, 44});
}

TEST_CASE("a running decode gets a token in every step while a long prompt is computed") {
  FakeEngine engine;
  const auto decode = engine.submit_raw(fake_request(fake_ids(5, 1), 200));
  const auto prompt = engine.submit_raw(fake_request(fake_ids(4000, 2), 1));
  wait(engine, prompt);
  wait(engine, decode);
  const auto begin = static_cast<size_t>(first_step(engine, decode.get(), true));
  const auto& steps = engine.runner.steps;
  REQUIRE(steps.size() >= begin + 199);
  for (size_t i = begin; i < begin + 199; ++i) {
    const auto& in = steps[i].decode_of;
    CHECK(std::count(in.begin(), in.end(), decode.get()) == 1);
  }
}

TEST_CASE("a short prompt after a long one waits for a few steps, and the long one is not starved") {
  FakeEngine engine;
  engine.runner.hold();
  const auto decode = engine.submit_raw(fake_request(fake_ids(5, 1), 1000));
  const auto long_prompt = engine.submit_raw(fake_request(fake_ids(8000, 2), 1));
  std::vector<std::shared_ptr<Request>> short_ones;
  for (uint64_t i = 0; i < 10; ++i)
    short_ones.push_back(engine.submit_raw(fake_request(fake_ids(40, 10 + i), 2)));
  engine.runner.release();
  for (const auto& request : short_ones) wait(engine, request);
  wait(engine, long_prompt);
  wait(engine, decode);
  // A mixed chunk is two pages. Half of each goes to short prompts, which have three pages.
  for (size_t i = 0; i < short_ones.size(); ++i) {
    const int64_t at = first_step(engine, short_ones[i].get(), true);
    CHECK(at > 0);
    CHECK(at <= 3 * (static_cast<int64_t>(i) + 1) + 2);
  }
  // 500 pages, at one or two for each step.
  int64_t chunks = 0;
  for (const FakeStep& step : engine.runner.steps)
    chunks += std::count(step.prefill_of.begin(), step.prefill_of.end(), long_prompt.get());
  CHECK(chunks <= 290);
}

TEST_CASE("a mixed chunk of one page is shared in turn") {
  FakeOptions options;
  options.mixed_chunk_size = 16;
  FakeEngine engine(options);
  engine.runner.hold();
  const auto decode = engine.submit_raw(fake_request(fake_ids(5, 1), 1000));
  const auto long_prompt = engine.submit_raw(fake_request(fake_ids(4000, 2), 1));
  const auto short_prompt = engine.submit_raw(fake_request(fake_ids(40, 3), 2));
  engine.runner.release();
  for (const auto& request : {decode, long_prompt, short_prompt}) wait(engine, request);
  CHECK(first_step(engine, short_prompt.get(), true) <= 8);
}

TEST_CASE("no more requests run in a step than the batch has room for") {
  FakeOptions options;
  options.max_batch_size = 4;
  FakeEngine engine(options);
  engine.runner.hold();
  std::vector<std::shared_ptr<Request>> requests;
  for (uint64_t i = 0; i < 11; ++i) requests.push_back(engine.submit_raw(fake_request(fake_ids(20, i), 10)));
  engine.runner.release();
  for (const auto& request : requests) wait(engine, request);
  size_t most = 0;
  for (const FakeStep& step : engine.runner.steps)
    most = std::max(most, step.prefill_of.size() + step.decode_of.size());
  CHECK(most == 4);
}

TEST_CASE("a callback that throws fails its request alone, with its own exception") {
  FakeEngine engine;
  GenerateRequest bad = fake_request(fake_ids(50, 1), 20);
  int n = 0;
  bad.on_token = [&](const TokenEvent&) {
    if (++n == 3) throw std::runtime_error("mine");
    return true;
  };
  GenerateRequest worse = fake_request(fake_ids(50, 2), 20);
  worse.on_progress = [](const PrefillProgress&) -> bool { throw std::runtime_error("also mine"); };
  const GenerateRequest good = fake_request(fake_ids(50, 3), 20);
  engine.runner.hold();
  const auto a = engine.submit(bad), b = engine.submit(worse), c = engine.submit(good);
  engine.runner.release();
  CHECK_THROWS_WITH(a->wait(), "mine");
  CHECK_THROWS_WITH(a->wait(), "mine");
  CHECK_THROWS_WITH(b->wait(), "also mine");
  CHECK(c->wait().tokens == engine.expected(good));
  CHECK(n == 3);
  CHECK(engine.stats().n_failed == 2);
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("callbacks that return false stop their request, and the result holds what they saw") {
  FakeEngine engine;
  GenerateRequest at_token = fake_request(fake_ids(50, 1), 20);
  int n = 0;
  at_token.on_token = [&](const TokenEvent&) { return ++n < 5; };
  GenerateRequest at_progress = fake_request(fake_ids(500, 2), 20);
  at_progress.on_progress = [](const PrefillProgress& p) { return p.processed < 128; };
  const auto a = engine.submit(at_token), b = engine.submit(at_progress);
  const GenerateResult tokens = a->wait(), prefill = b->wait();
  CHECK(tokens.finish == FinishReason::kCancelled);
  const Ids all = engine.expected(at_token);
  CHECK(tokens.tokens == Ids(all.begin(), all.begin() + 5));
  CHECK(prefill.finish == FinishReason::kCancelled);
  CHECK(prefill.stats.n_prompt >= 128);
  CHECK(prefill.stats.n_prompt < 500);
  CHECK(engine.stats().n_cancelled == 2);
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("a lost device ends all requests, waiting ones too, with the same error") {
  FakeOptions options;
  options.max_batch_size = 2;
  FakeEngine engine(options);
  engine.runner.before_step = [](int64_t step) {
    if (step >= 5) throw Error(ErrorKind::kDevice, "the GPU fell off the bus");
  };
  engine.runner.hold();
  std::vector<std::unique_ptr<Generation>> running;
  for (uint64_t i = 0; i < 5; ++i) running.push_back(engine.submit(fake_request(fake_ids(30, i), 50)));
  engine.runner.release();
  for (const auto& generation : running)
    CHECK(error_of([&] { generation->wait(); }) == "device: the GPU fell off the bus");
  CHECK(engine.stats().n_failed == 5);
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("another error of a step ends the requests of that step alone") {
  FakeOptions options;
  options.max_batch_size = 2;
  FakeEngine engine(options);
  engine.runner.before_step = [thrown = false](int64_t step) mutable {
    if (step == 3 && !std::exchange(thrown, true)) throw Error(ErrorKind::kMemory, "no room for scores");
  };
  engine.runner.hold();
  std::vector<GenerateRequest> requests;
  std::vector<std::unique_ptr<Generation>> running;
  for (uint64_t i = 0; i < 4; ++i) {
    requests.push_back(fake_request(fake_ids(30, i), 50));
    running.push_back(engine.submit(requests.back()));
  }
  engine.runner.release();
  CHECK(error_of([&] { running[0]->wait(); }) == "memory: no room for scores");
  CHECK(error_of([&] { running[1]->wait(); }) == "memory: no room for scores");
  CHECK(running[2]->wait().tokens == engine.expected(requests[2]));
  CHECK(running[3]->wait().tokens == engine.expected(requests[3]));
}

TEST_CASE("a cancel ends a waiting request and a running one, and is forgotten by one that is done") {
  FakeOptions options;
  options.max_batch_size = 1;
  FakeEngine engine(options);
  engine.runner.hold();
  const GenerateRequest request = fake_request(fake_ids(30, 1), 40);
  const auto running = engine.submit(request), waiting = engine.submit(request),
             last = engine.submit(request);
  CHECK_FALSE(running->done());
  running->cancel();
  waiting->cancel();
  engine.runner.release();
  CHECK(running->wait().finish == FinishReason::kCancelled);
  const GenerateResult never = waiting->wait();
  CHECK(never.finish == FinishReason::kCancelled);
  CHECK(never.tokens.empty());
  CHECK(last->wait().tokens == engine.expected(request));
  last->cancel();
  CHECK(last->wait().finish == FinishReason::kLength);
  CHECK(engine.stats().n_cancelled == 2);
  CHECK(engine.stats().n_finished == 1);
}

TEST_CASE("a generation that is destroyed is cancelled, and its pages come back") {
  FakeEngine engine;
  engine.runner.hold();
  const GenerateRequest request = fake_request(fake_ids(30, 1), 1000);
  const auto other = engine.submit(fake_request(fake_ids(30, 2), 5));
  engine.submit(request) = nullptr;
  engine.runner.release();
  other->wait();
  engine.submit(fake_request(fake_ids(30, 3), 1))->wait();
  CHECK(engine.stats().n_cancelled == 1);
  CHECK(engine.stats().pages_used == 0);
}

TEST_CASE("what a callback holds may call the engine when it is destroyed") {
  FakeEngine engine;
  struct Witness {
    FakeEngine* engine;
    std::atomic<int64_t>* n_requests;
    ~Witness() { *n_requests = engine->stats().n_requests; }
  };
  std::atomic<int64_t> n_requests = 0;
  engine.runner.hold();
  {
    GenerateRequest request = fake_request(fake_ids(30, 1), 20);
    request.on_token = [witness = std::shared_ptr<Witness>(new Witness{&engine, &n_requests})](
                           const TokenEvent&) { return witness != nullptr; };
    engine.submit(request) = nullptr;  // from here on only the engine has it
  }
  CHECK(n_requests == 0);
  engine.runner.release();
  while (n_requests == 0) std::this_thread::yield();
  CHECK(n_requests == 1);
}

TEST_CASE("an engine that is destroyed ends what is under way as cancelled") {
  auto engine = std::make_unique<FakeEngine>();
  std::vector<std::unique_ptr<Generation>> running;
  engine->runner.hold();
  for (uint64_t i = 0; i < 40; ++i) running.push_back(engine->submit(fake_request(fake_ids(30, i), 10000)));
  engine->runner.release();
  engine = nullptr;
  for (const auto& generation : running) {
    CHECK(generation->done());
    CHECK(generation->wait().finish == FinishReason::kCancelled);
    generation->cancel();
  }
}

TEST_CASE("each submitted request says once that it has ended, however it does") {
  auto engine = std::make_unique<FakeEngine>();
  struct Ending {
    std::atomic<int> n_calls = 0;
    std::unique_ptr<Generation> generation;
    std::atomic<bool> was_done = false;
  };
  Ending finished, cancelled, failed, left;
  const auto submit = [&](Ending* ending, GenerateRequest request) {
    request.on_end = [ending] {
      ending->was_done = ending->generation->done();
      ++ending->n_calls;
    };
    ending->generation = engine->submit(request);
  };
  engine->runner.hold();
  submit(&finished, fake_request(fake_ids(30, 1), 5));
  submit(&cancelled, fake_request(fake_ids(30, 2), 10000));
  GenerateRequest throws = fake_request(fake_ids(30, 3), 10);
  throws.on_token = [](const TokenEvent&) -> bool { throw std::runtime_error("mine"); };
  submit(&failed, throws);
  submit(&left, fake_request(fake_ids(30, 4), 1000000));
  cancelled.generation->cancel();
  engine->runner.release();
  for (Ending* ending : {&finished, &cancelled, &failed})
    while (ending->n_calls == 0) std::this_thread::yield();
  CHECK(left.n_calls == 0);
  engine = nullptr;
  for (const Ending* ending : {&finished, &cancelled, &failed, &left}) {
    CHECK(ending->n_calls == 1);
    CHECK(ending->was_done);
  }
  CHECK(finished.generation->wait().finish == FinishReason::kLength);
  CHECK(cancelled.generation->wait().finish == FinishReason::kCancelled);
  CHECK_THROWS_AS(failed.generation->wait(), std::runtime_error);
  CHECK(left.generation->wait().finish == FinishReason::kCancelled);
}

TEST_CASE("a callback may submit, ask for statistics and cancel its own request") {
  FakeEngine engine;
  std::unique_ptr<Generation> own, other;
  const GenerateRequest second = fake_request(fake_ids(20, 2), 5);
  GenerateRequest request = fake_request(fake_ids(50, 1), 20);
  int n = 0;
  int64_t n_running = 0;
  request.on_token = [&](const TokenEvent&) {
    if (++n == 2) {
      n_running = engine.stats().n_running;
      other = engine.submit(second);
    }
    if (n == 4) own->cancel();
    return true;
  };
  engine.runner.hold();
  own = engine.submit(request);
  engine.runner.release();
  CHECK(own->wait().tokens.size() == 4);
  CHECK(other->wait().tokens == engine.expected(second));
  CHECK(n_running == 1);
}

TEST_CASE("a rank that ends while there is nothing to compute is noticed, and one in a step as well") {
  FakeOptions options;
  options.check_interval = std::chrono::milliseconds(1);
  const bool idle = GENERATE(true, false);
  FakeEngine engine(options);
  CHECK(engine.submit(fake_request(fake_ids(30, 1), 5))->wait().tokens.size() == 5);
  CHECK_FALSE(engine.scheduler->failure());
  if (idle) {
    engine.runner.lost = true;
    while (!engine.scheduler->failure()) std::this_thread::yield();
  } else {
    engine.runner.before_step = [&](int64_t) {
      engine.runner.lost = true;
      throw Error(ErrorKind::kDevice, "a rank has ended");
    };
    const auto generation = engine.submit(fake_request(fake_ids(30, 2), 5));
    CHECK_THROWS_AS(generation->wait(), Error);
  }
  REQUIRE(engine.scheduler->failure());
  CHECK(engine.scheduler->failure()->kind() == ErrorKind::kDevice);
  CHECK(std::string(engine.scheduler->failure()->what()) == "a rank has ended");
}

TEST_CASE("an engine without other ranks is never looked at while it has nothing to do") {
  FakeEngine engine;
  engine.runner.lost = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK_FALSE(engine.scheduler->failure());
  CHECK(engine.submit(fake_request(fake_ids(30, 1), 5))->wait().tokens.size() == 5);
}

}  // namespace
}  // namespace seer
