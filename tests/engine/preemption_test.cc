// Pools that are too small for all running requests: a request that gives way returns to the very same state.
#include <algorithm>

#include "tests/engine/demo.h"
#include "tests/engine/fake_engine.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/error_of.h"

namespace seer {
namespace {

using namespace testing;

// Runs all `requests` at once in a pool of n_pages. Returns how often one was pre-empted.
int64_t check_together(const FakeOptions& options, const std::vector<GenerateRequest>& requests) {
  FakeEngine engine(options);
  std::vector<Ids> streamed(requests.size());
  std::vector<int64_t> processed(requests.size(), -1);
  int64_t n_repeated = 0;
  std::vector<std::unique_ptr<Generation>> running;
  engine.runner.hold();
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerateRequest request = requests[i];
    request.on_token = [&, i](const TokenEvent& event) {
      streamed[i].push_back(event.id);
      return true;
    };
    request.on_progress = [&, i](const PrefillProgress& p) {
      if (p.processed <= processed[i]) ++n_repeated;  // the prompt is computed again
      processed[i] = p.processed;
      return true;
    };
    running.push_back(engine.submit(request));
  }
  engine.runner.release();
  for (size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i << ", " << requests[i].sparse->to_string());
    const GenerateResult result = running[i]->wait();
    CHECK(result.tokens == engine.expected(requests[i]));
    CHECK(streamed[i] == result.tokens);
    CHECK(result.stats.n_prompt + result.stats.n_cached == static_cast<int64_t>(requests[i].prompt.size()));
  }
  CHECK(n_repeated == 0);
  const EngineStats stats = engine.stats();
  CHECK(stats.pages_used == 0);
  CHECK(stats.n_finished == static_cast<int64_t>(requests.size()));
  return stats.n_preempted;
}

// Prompts that end at every kind of place, and answers that grow over several pages.
std::vector<GenerateRequest> growing_requests(int64_t n_requests, bool rules_for_decoding = false) {
  std::vector<GenerateRequest> requests;
  const SparseDecodeRule decode_rules[] = {kDecodeBudget, kDenseDecode, kDecodeThreshold, kDecodeRatio,
                                           kDecodeBudget};
  const SparseRule rules[] = {kDense, kThreshold, kNzRatio, kNzRatioRow};
  const int64_t lengths[] = {1, 16, 40, 47, 48, 64, 65, 100};
  for (int64_t i = 0; i < n_requests; ++i) {
    const auto seed = static_cast<uint64_t>(i);
    requests.push_back(fake_request(fake_ids(lengths[i % 8], seed), 10 + 13 * (i % 7), rules[i % 3]));
    requests.back().sampling.temperature = static_cast<double>(i % 2);
    requests.back().sampling.seed = seed;
    if (rules_for_decoding) requests.back().sparse_decode = decode_rules[i % 5];
  }
  return requests;
}

TEST_CASE("pre-empted requests give the tokens they would have given, whatever their rule") {
  FakeOptions options;
  options.n_pages = 14;  // of 16 tokens; the largest request takes 12
  options.prefix_cache = GENERATE(false, true);
  options.last_block_dense = GENERATE(true, false);
  CHECK(check_together(options, growing_requests(24)) > 3);
}

TEST_CASE("what was decoded under a rule is computed again token by token under the same rule") {
  FakeOptions options;
  options.n_pages = 14;
  options.prefix_cache = GENERATE(false, true);
  options.last_block_dense = GENERATE(true, false);
  CHECK(check_together(options, growing_requests(24, true)) > 3);
}

TEST_CASE("positions that depend on the length are computed again token by token, to the same state") {
  FakeOptions options;
  options.n_pages = 14;
  options.positions_depend_on_length = true;
  options.prefix_cache = true;
  CHECK(check_together(options, growing_requests(24)) > 3);
}

TEST_CASE("requests that fill the pool alone run one after the other") {
  FakeOptions options;
  options.n_pages = 4;
  std::vector<GenerateRequest> requests;
  for (uint64_t i = 0; i < 6; ++i) requests.push_back(fake_request(fake_ids(1, i), 63));
  CHECK(check_together(options, requests) > 0);
}

TEST_CASE("pools of every size from one request's up let all finish") {
  const auto requests = growing_requests(10);
  for (int64_t n_pages = 12; n_pages < 40; ++n_pages) {
    INFO(n_pages << " pages");
    FakeOptions options;
    options.n_pages = n_pages;
    options.prefix_cache = n_pages % 2 == 0;
    check_together(options, requests);
  }
}

TEST_CASE("the oldest request is never pre-empted") {
  FakeOptions options;
  options.n_pages = 10;
  FakeEngine engine(options);
  engine.runner.hold();
  const auto oldest = engine.submit_raw(fake_request(fake_ids(32, 1), 100));
  std::vector<std::shared_ptr<Request>> others;
  for (uint64_t i = 0; i < 4; ++i)
    others.push_back(engine.submit_raw(fake_request(fake_ids(32, 10 + i), 60)));
  engine.runner.release();
  for (const auto& request : others) GenerationImpl(request, engine.scheduler->signals()).wait();
  GenerationImpl(oldest, engine.scheduler->signals()).wait();
  CHECK(engine.stats().n_preempted > 0);
  int64_t prefilled = 0, decoded = 0;
  for (const FakeStep& step : engine.runner.steps) {
    for (size_t i = 0; i < step.prefill_of.size(); ++i)
      if (step.prefill_of[i] == oldest.get()) prefilled += step.prefills[i];
    decoded += std::count(step.decode_of.begin(), step.decode_of.end(), oldest.get());
  }
  CHECK(prefilled == 32);
  CHECK(decoded == 99);
}

TEST_CASE("small requests pass a large one that does not fit, but not for ever") {
  FakeOptions options;
  options.n_pages = 20;
  options.max_batch_size = 3;
  FakeEngine engine(options);
  engine.runner.hold();
  std::vector<std::shared_ptr<Request>> small;
  small.push_back(engine.submit_raw(fake_request(fake_ids(16, 1), 100)));
  const auto large = engine.submit_raw(fake_request(fake_ids(300, 2), 4));
  for (uint64_t i = 0; i < 80; ++i)
    small.push_back(engine.submit_raw(fake_request(fake_ids(16, 10 + i), 3 + static_cast<int64_t>(i % 3))));
  engine.runner.release();
  for (const auto& request : small) GenerationImpl(request, engine.scheduler->signals()).wait();
  GenerationImpl(large, engine.scheduler->signals()).wait();
  const auto begun = [&](const Request* request) {
    const auto& steps = engine.runner.steps;
    return std::find_if(steps.begin(), steps.end(),
                        [&](const FakeStep& s) {
                          return std::find(s.prefill_of.begin(), s.prefill_of.end(), request) !=
                                 s.prefill_of.end();
                        }) -
           steps.begin();
  };
  int64_t before = 0;
  for (const auto& request : small) before += begun(request.get()) < begun(large.get()) ? 1 : 0;
  CHECK(before > 10);
  CHECK(before < 60);
}

TEST_CASE("pages that nobody running can give are a memory error with the numbers, of that request alone") {
  FakeOptions options;
  options.n_pages = 10;
  FakeEngine engine(options);
  {
    const std::lock_guard lock(engine.scheduler->mutex());
    for (int i = 0; i < 6; ++i) CHECK(engine.pages.allocate() != PrefixCache::kNone);  // a session's
  }
  const auto large = engine.submit(fake_request(fake_ids(100, 1), 4));
  const std::string error = error_of([&] { large->wait(); });
  CHECK_THAT(error, ContainsSubstring("memory: ") && ContainsSubstring("all 10 pages of 16 tokens"));
  CHECK_THAT(error, ContainsSubstring("6 of them by sessions") && ContainsSubstring("needs 7"));
  const GenerateRequest fits = fake_request(fake_ids(40, 2), 20);
  CHECK(engine.submit(fits)->wait().tokens == engine.expected(fits));
  CHECK(engine.stats().pages_used == 6);
}

}  // namespace
}  // namespace seer
