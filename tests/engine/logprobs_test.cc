// Log-probabilities of chosen tokens and of prompts, against a float64 log-softmax of evaluate()'s logits.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

using Rows = std::vector<std::vector<float>>;

// Logits of every position of `ids`.
Rows logits_of(Engine& engine, const Ids& ids, const SparseRule& rule = kDense) {
  Rows rows;
  EvaluateRequest request;
  request.tokens = ids;
  request.sparse = rule;
  request.n_last_logits = 0;
  request.on_logits = [&](int64_t, int64_t n_rows, int64_t n_vocab, const float* logits) {
    for (int64_t i = 0; i < n_rows; ++i) rows.emplace_back(logits + i * n_vocab, logits + (i + 1) * n_vocab);
    return true;
  };
  engine.new_session()->evaluate(request);
  return rows;
}

// The logarithm of the sum of exp(logits).
double log_sum_of(const std::vector<float>& row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0.0;
  for (const float logit : row) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

Ids likeliest(const std::vector<float>& row, size_t n) {
  Ids ids(row.size());
  std::iota(ids.begin(), ids.end(), 0);
  std::partial_sort(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(n), ids.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = row[static_cast<size_t>(a)], y = row[static_cast<size_t>(b)];
                      return x > y || (x == y && a < b);
                    });
  ids.resize(n);
  return ids;
}

// A prefill and decodes differ in the last bits of a sum.
const double kMargin = logprob_margin("f32");

void check_position(const PositionLogprobs& found, const std::vector<float>& row, int32_t id, size_t n_top,
                    double margin = kMargin) {
  const double log_sum = log_sum_of(row);
  const auto logprob_of = [&](int32_t of) { return row[static_cast<size_t>(of)] - log_sum; };
  const Ids top = likeliest(row, n_top);
  CHECK(found.token.id == id);
  CHECK(found.token.logprob == Approx(logprob_of(id)).margin(margin));
  REQUIRE(found.top.size() == n_top);
  for (size_t i = 0; i < n_top; ++i) {
    CHECK(found.top[i].logprob == Approx(logprob_of(top[i])).margin(margin));
    if (i > 0) CHECK(found.top[i].logprob <= found.top[i - 1].logprob);
  }
}

void check_prompt(const std::vector<PositionLogprobs>& found, const Rows& rows, const Ids& prompt,
                  size_t n_top, double margin = kMargin) {
  REQUIRE(found.size() + 1 == prompt.size());
  for (size_t i = 0; i < found.size(); ++i) check_position(found[i], rows[i], prompt[i + 1], n_top, margin);
}

GenerateRequest asking(const Ids& prompt, int64_t max_new_tokens, const SparseRule& rule = kDense) {
  GenerateRequest request = greedy(prompt, max_new_tokens, rule);
  request.n_logprobs = 3;
  request.n_prompt_logprobs = 2;
  return request;
}

TEST_CASE("log-probabilities of prompt and answer are a log-softmax of the model's logits") {
  const auto engine = load_demo(512);
  for (const int64_t n : {1, 2, 63, 64, 65, 200}) {
    const Ids prompt = document(n);
    const GenerateResult result = engine->submit(asking(prompt, 6))->wait();
    const Ids all = join(prompt, result.tokens);
    const Rows rows = logits_of(*engine, all);
    check_prompt(result.prompt_logprobs, rows, prompt, 2);
    REQUIRE(result.logprobs.size() == result.tokens.size());
    for (size_t i = 0; i < result.tokens.size(); ++i)
      check_position(result.logprobs[i], rows[prompt.size() + i - 1], result.tokens[i], 3);
  }
}

TEST_CASE("log-probabilities are the model's, whatever changes the logits before a token is chosen") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(100), 4);
  request.n_logprobs = 1;
  request.sampling.logit_bias[17] = 100.0;
  request.sampling.repeat_penalty = 1.3;
  const auto check = [&] {
    const GenerateResult result = engine->submit(request)->wait();
    CHECK(result.tokens == Ids{17, 17, 17, 17});
    const Rows rows = logits_of(*engine, join(request.prompt, result.tokens));
    for (size_t i = 0; i < 4; ++i) check_position(result.logprobs[i], rows[99 + i], 17, 1);
    CHECK(result.logprobs[0].top[0].id != 17);
  };
  check();
  request.on_logits = [](std::span<const int32_t>, std::span<float> logits) {
    std::fill(logits.begin(), logits.end(), 0.0F);
  };
  check();
}

TEST_CASE("a request without n gets none, and n = 0 the token's alone") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(50), 2);
  int n_seen = 0;
  request.on_token = [&](const TokenEvent& event) {
    n_seen += event.logprobs != nullptr || event.prompt_logprobs != nullptr ? 1 : 0;
    return true;
  };
  GenerateResult result = engine->new_session()->generate(request);
  CHECK(n_seen == 0);
  CHECK(result.logprobs.empty());
  CHECK(result.prompt_logprobs.empty());
  request.n_logprobs = request.n_prompt_logprobs = 0;
  result = engine->new_session()->generate(request);
  CHECK(n_seen == 2);
  REQUIRE(result.logprobs.size() == 2);
  REQUIRE(result.prompt_logprobs.size() == 49);
  CHECK(result.logprobs[0].top.empty());
  CHECK(result.prompt_logprobs[0].top.empty());
}

TEST_CASE("all of the vocabulary may be asked for, and its probabilities add up to 1") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(50), 1);
  request.n_logprobs = engine->model().n_vocab;
  const GenerateResult result = engine->new_session()->generate(request);
  double sum = 0.0;
  for (const TokenLogprob& t : result.logprobs.at(0).top) sum += std::exp(static_cast<double>(t.logprob));
  CHECK(sum == Approx(1.0).epsilon(1e-5));
  const Rows rows = logits_of(*engine, request.prompt);
  Ids ids;
  for (const TokenLogprob& t : result.logprobs.at(0).top) ids.push_back(t.id);
  CHECK(slice(ids, 0, 20) == likeliest(rows.back(), 20));
}

TEST_CASE("events bring the same log-probabilities as the result, the prompt's with the first token") {
  const auto engine = load_demo(256);
  GenerateRequest request = asking(document(70), 5);
  std::vector<float> chosen;
  std::vector<size_t> prompts;
  request.on_token = [&](const TokenEvent& event) {
    chosen.push_back(event.logprobs->token.logprob);
    prompts.push_back(event.prompt_logprobs == nullptr ? 0 : event.prompt_logprobs->size());
    return true;
  };
  const GenerateResult result = engine->new_session()->generate(request);
  REQUIRE(result.logprobs.size() == 5);
  for (size_t i = 0; i < 5; ++i) CHECK(result.logprobs[i].token.logprob == chosen[i]);
  CHECK(prompts == std::vector<size_t>{69, 0, 0, 0, 0});
}

TEST_CASE("a prompt's log-probabilities come without any new token") {
  const auto engine = load_demo(256);
  const Ids prompt = document(130);
  GenerateRequest request = asking(prompt, 0);
  const GenerateResult submitted = engine->submit(request)->wait();
  const GenerateResult own = engine->new_session()->generate(request);
  const Rows rows = logits_of(*engine, prompt);
  check_prompt(submitted.prompt_logprobs, rows, prompt, 2);
  check_prompt(own.prompt_logprobs, rows, prompt, 2);
  CHECK(own.logprobs.empty());
}

TEST_CASE("a session computes all it holds again for the log-probabilities of all of it") {
  const auto engine = load_demo(512);
  const auto session = engine->new_session();
  const Ids ids = document(200);
  session->generate(greedy(slice(ids, 0, 150), 0));
  const GenerateResult result = session->generate(asking(slice(ids, 150, 200), 1));
  CHECK(result.stats.n_cached == 0);
  CHECK(result.stats.n_prompt == 200);
  check_prompt(result.prompt_logprobs, logits_of(*engine, ids), ids, 2);
}

TEST_CASE("pages of others are no substitute for logits, and requests side by side get their own") {
  const std::string type = GENERATE("f32", "bf16");
  const double margin = logprob_margin(type);
  EngineOptions options = demo_options(512, 64, type);
  options.prefix_cache = true;
  const auto engine = Engine::load(options), alone = load_demo(512, 64, type);
  const Ids ids = document(300);
  engine->submit(greedy(ids, 1))->wait();
  const std::vector<GenerateRequest> requests = {asking(ids, 8), greedy(ids, 8),
                                                 asking(slice(ids, 0, 130), 8), asking(slice(ids, 7, 90), 8)};
  std::vector<std::unique_ptr<Generation>> running;
  running.reserve(requests.size());
  for (const GenerateRequest& request : requests) running.push_back(engine->submit(request));
  for (size_t i = 0; i < requests.size(); ++i) {
    const GenerateResult result = running[i]->wait();
    const Ids& prompt = requests[i].prompt;
    const Rows rows = logits_of(*alone, join(prompt, result.tokens));
    if (!requests[i].n_logprobs) {
      CHECK(result.stats.n_cached > 0);
      CHECK(result.logprobs.empty());
      continue;
    }
    CHECK(result.stats.n_cached == 0);
    check_prompt(result.prompt_logprobs, rows, prompt, 2, margin);
    REQUIRE(result.logprobs.size() == 8);
    for (size_t t = 0; t < 8; ++t)
      check_position(result.logprobs[t], rows[prompt.size() + t - 1], result.tokens[t], 3, margin);
  }
}

TEST_CASE("under a sparse rule a prompt's log-probabilities are those of its sparse prefill") {
  const auto engine = load_demo(512);
  const Ids prompt = document(500);
  for (const SparseRule& rule : {kThreshold, kNzRatioRow}) {
    const GenerateResult result = engine->new_session()->generate(asking(prompt, 1, rule));
    CHECK(result.stats.density < 1.0);
    check_prompt(result.prompt_logprobs, logits_of(*engine, prompt, rule), prompt, 2);
  }
}

TEST_CASE("a request whose pages were taken reports each position once") {
  const std::string type = GENERATE("f32", "bf16");
  const double margin = logprob_margin(type);
  EngineOptions options = demo_options(512, 64, type);
  options.pool_size = 640;
  const auto engine = Engine::load(options), alone = load_demo(512, 64, type);
  const Ids ids = document(300);
  std::vector<GenerateRequest> requests;
  for (int64_t i = 0; i < 4; ++i) requests.push_back(asking(slice(ids, i, i + 200), 150));
  std::vector<std::unique_ptr<Generation>> running;
  running.reserve(requests.size());
  for (const GenerateRequest& request : requests) running.push_back(engine->submit(request));
  for (size_t i = 0; i < requests.size(); ++i) {
    const GenerateResult result = running[i]->wait(), expected = alone->submit(requests[i])->wait();
    CHECK(result.tokens == expected.tokens);
    REQUIRE(result.logprobs.size() == 150);
    REQUIRE(result.prompt_logprobs.size() == 199);
    for (size_t t = 0; t < 150; ++t)
      CHECK(result.logprobs[t].token.logprob == Approx(expected.logprobs[t].token.logprob).margin(margin));
    for (size_t t = 0; t < 199; ++t)
      CHECK(result.prompt_logprobs[t].token.logprob ==
            Approx(expected.prompt_logprobs[t].token.logprob).margin(margin));
  }
  CHECK(engine->stats().n_preempted > 0);
}

TEST_CASE("an id that ends the answer has a log-probability too") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(60), 10);
  const Ids free = engine->new_session()->generate(request).tokens;
  request.stop_token_ids = {free[3]};
  request.n_logprobs = 0;
  const GenerateResult result = engine->new_session()->generate(request);
  REQUIRE(result.logprobs.size() == result.tokens.size() + 1);
  CHECK(result.logprobs.back().token.id == result.stop_id);
}

TEST_CASE("numbers of log-probabilities out of range are refused by name") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(10), 1);
  request.n_logprobs = -1;
  CHECK_THROWS_WITH(engine->submit(request),
                    ContainsSubstring("n_logprobs") && ContainsSubstring("found -1"));
  request.n_logprobs = engine->model().n_vocab + 1;
  CHECK_THROWS_WITH(engine->new_session()->generate(request), ContainsSubstring("n_logprobs"));
  request.n_logprobs.reset();
  request.n_prompt_logprobs = -2;
  CHECK_THROWS_WITH(engine->submit(request), ContainsSubstring("n_prompt_logprobs"));
}

}  // namespace
}  // namespace seer::testing
