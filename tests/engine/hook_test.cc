// GenerateRequest::on_logits: embedders change the logits before a token is chosen.
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "tests/engine/demo.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

bool all_digits(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

TEST_CASE("a grammar of digits lets only digits out") {
  const auto engine = load_demo(256);
  const Tokenizer& tokenizer = engine->tokenizer();
  GenerateRequest request;
  request.prompt = tokenizer.encode("The secret number of the library is");
  request.max_new_tokens = 12;
  request.sampling.temperature = 1.0;
  request.sampling.seed = 5;
  const std::string free = engine->new_session()->generate(request).text;
  CHECK_FALSE(all_digits(free));
  std::vector<size_t> n_tokens;
  request.on_logits = [&](std::span<const int32_t> tokens, std::span<float> logits) {
    n_tokens.push_back(tokens.size());
    for (size_t id = 0; id < logits.size(); ++id)
      if (!all_digits(tokenizer.token_bytes(static_cast<int32_t>(id)))) logits[id] = kNever;
  };
  const GenerateResult result = engine->new_session()->generate(request);
  CHECK(all_digits(result.text));
  CHECK(result.tokens.size() == 12);
  REQUIRE(n_tokens.size() == 12);
  for (size_t i = 0; i < 12; ++i) CHECK(n_tokens[i] == request.prompt.size() + i);
}

TEST_CASE("a hook that changes nothing gives the tokens that the device chooses") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(100), 20);
  request.sampling.temperature = 0.9;
  request.sampling.top_p = 0.95;
  request.sampling.top_k = 50;
  request.sampling.min_p = 0.01;
  request.sampling.repeat_penalty = 1.1;
  request.sampling.frequency_penalty = 0.2;
  request.sampling.seed = 11;
  const Ids expected = engine->new_session()->generate(request).tokens;
  request.on_logits = [](std::span<const int32_t>, std::span<float>) {};
  CHECK(engine->new_session()->generate(request).tokens == expected);
}

TEST_CASE("penalties and biases come after the hook") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(100), 3);
  request.sampling.presence_penalty = 1.5;
  request.on_logits = [](std::span<const int32_t>, std::span<float> logits) {
    std::fill(logits.begin(), logits.end(), kNever);
    logits[40] = 3.0F, logits[41] = 2.0F, logits[42] = 1.0F;
  };
  CHECK(engine->new_session()->generate(request).tokens == Ids{40, 41, 40});
  request.sampling.logit_bias[42] = 2.5;
  CHECK(engine->new_session()->generate(request).tokens == Ids{42, 40, 41});
}

TEST_CASE("requests with a hook and without run side by side, and a hook that throws fails its own alone") {
  const auto engine = load_demo(512);
  const GenerateRequest plain = greedy(document(100), 24);
  GenerateRequest hooked = plain, throwing = plain;
  hooked.on_logits = [](std::span<const int32_t>, std::span<float> logits) { logits[7] = 1e4F; };
  throwing.on_logits = [](std::span<const int32_t> tokens, std::span<float>) {
    if (tokens.size() == 105) throw std::runtime_error("no rule for this");
  };
  const Ids expected = engine->new_session()->generate(plain).tokens;
  const auto a = engine->submit(plain), b = engine->submit(hooked), c = engine->submit(throwing),
             d = engine->submit(plain);
  CHECK(a->wait().tokens == expected);
  CHECK(b->wait().tokens == Ids(24, 7));
  CHECK_THROWS_WITH(c->wait(), "no rule for this");
  CHECK(d->wait().tokens == expected);
  CHECK(engine->stats().n_failed == 1);
  CHECK(engine->stats().pages_used == 0);
}

TEST_CASE("what a hook throws passes through a session's generate") {
  const auto engine = load_demo(256);
  const auto session = engine->new_session();
  GenerateRequest request = greedy(document(70), 5);
  request.on_logits = [](std::span<const int32_t>, std::span<float>) { throw std::out_of_range("hook"); };
  CHECK_THROWS_AS(session->generate(request), std::out_of_range);
  request.on_logits = nullptr;
  request.prompt = session->tokens().empty() ? document(70) : Ids{5};
  CHECK(session->generate(request).tokens.size() == 5);
}

TEST_CASE("a hook that leaves no token fails the request and says what may be the cause") {
  const auto engine = load_demo(256);
  GenerateRequest request = greedy(document(70), 5);
  request.on_logits = [](std::span<const int32_t>, std::span<float> logits) {
    std::fill(logits.begin(), logits.end(), kNever);
  };
  try {
    engine->submit(request)->wait();
    FAIL("expected an error");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kRuntime);
    CHECK_THAT(error.what(), ContainsSubstring("on_logits"));
  }
}

TEST_CASE("a hook is called once a token, also if pages were taken and computed again") {
  EngineOptions options = demo_options(512);
  options.pool_size = 512;
  const auto engine = Engine::load(options);
  std::vector<std::unique_ptr<Generation>> running;
  std::vector<std::vector<size_t>> seen(3);
  for (size_t i = 0; i < 3; ++i) {
    GenerateRequest request = greedy(document(150), 150);
    request.on_logits = [&seen, i](std::span<const int32_t> tokens, std::span<float>) {
      seen[i].push_back(tokens.size());
    };
    running.push_back(engine->submit(request));
  }
  for (const auto& generation : running) CHECK(generation->wait().tokens.size() == 150);
  CHECK(engine->stats().n_preempted > 0);
  for (const auto& calls : seen) {
    REQUIRE(calls.size() == 150);
    for (size_t i = 0; i < 150; ++i) CHECK(calls[i] == 150 + i);
  }
}

}  // namespace
}  // namespace seer::testing
