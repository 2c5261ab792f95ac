#include "engine/src/sampler.h"

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "seer/error.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

SamplingParams greedy_sampling() {
  SamplingParams params;
  params.temperature = 0.0;
  return params;
}

SamplingParams seeded(uint64_t seed) {
  SamplingParams params;
  params.temperature = 1.0;
  params.seed = seed;
  return params;
}

// Returns the next token, chosen as for a session.
int32_t sample(Sampler& sampler, std::vector<float> logits, const std::vector<int32_t>& history = {}) {
  static const auto cpu = make_cpu_backend(1);
  const SampleRow row = sampler.next(history);
  int32_t id = INT32_MIN;
  cpu->sample({&id, 1}, Tensor(logits.data(), DType::kF32, {1, static_cast<int64_t>(logits.size())}),
              {&row, 1});
  return sampler.accept(id);
}

int32_t sample_once(const SamplingParams& params, std::vector<float> logits,
                    const std::vector<int32_t>& history = {}) {
  Sampler sampler(params, BannedIds{});
  return sample(sampler, std::move(logits), history);
}

// Frequencies of many draws from the same logits.
std::map<int32_t, double> frequencies(const SamplingParams& params, const std::vector<float>& logits) {
  constexpr int kDraws = 20000;
  Sampler sampler(params, BannedIds{});
  std::map<int32_t, double> f;
  for (int i = 0; i < kDraws; ++i) f[sample(sampler, logits)] += 1.0 / kDraws;
  return f;
}

// Three standard errors of a frequency over 20,000 draws are at most 0.011.
constexpr double kMargin = 0.012;

TEST_CASE("greedy takes the largest logit and the lowest id among equals") {
  CHECK(sample_once(greedy_sampling(), {0.0F, 3.0F, 3.0F, 1.0F}) == 1);
}

TEST_CASE("draws follow the softmax of the logits over the temperature") {
  SamplingParams params = seeded(1);
  params.temperature = 2.0;
  const auto f = frequencies(params, {0.0F, std::log(4.0F), std::log(9.0F)});  // probabilities 1 : 2 : 3
  CHECK(f.at(0) == Approx(1.0 / 6).margin(kMargin));
  CHECK(f.at(1) == Approx(2.0 / 6).margin(kMargin));
  CHECK(f.at(2) == Approx(3.0 / 6).margin(kMargin));
}

TEST_CASE("equal seeds give equal draws and different seeds do not") {
  const std::vector<float> logits(100, 0.0F);
  const auto draws = [&](uint64_t seed) {
    Sampler sampler(seeded(seed), BannedIds{});
    std::vector<int32_t> ids(20);
    for (int32_t& id : ids) id = sample(sampler, logits);
    return ids;
  };
  CHECK(draws(7) == draws(7));
  CHECK(draws(7) != draws(8));
}

TEST_CASE("top_k keeps the k likeliest, the lower id among equals") {
  SamplingParams params = seeded(2);
  params.top_k = 2;
  const auto f = frequencies(params, {1.0F, 2.0F, 1.0F, 1.0F});
  CHECK(f.size() == 2);
  CHECK(f.count(1) == 1);
  CHECK(f.count(0) == 1);
}

TEST_CASE("top_p keeps the smallest set that reaches it") {
  SamplingParams params = seeded(3);
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.15F), std::log(0.05F)};
  params.top_p = 0.7;
  auto f = frequencies(params, logits);
  CHECK(f.size() == 2);
  CHECK(f.at(0) == Approx(0.5 / 0.8).margin(kMargin));
  params.top_p = 0.01;
  f = frequencies(params, logits);
  CHECK(f.size() == 1);
}

TEST_CASE("min_p drops what is unlikely compared with the likeliest") {
  SamplingParams params = seeded(4);
  params.min_p = 0.31;
  const auto f = frequencies(params, {std::log(0.5F), std::log(0.3F), std::log(0.15F), std::log(0.05F)});
  CHECK(f.size() == 2);  // 0.15 / 0.5 is below 0.31
}

TEST_CASE("repeat_penalty divides positive and multiplies negative logits of what was seen, once") {
  SamplingParams params = greedy_sampling();
  params.repeat_penalty = 2.0;
  CHECK(sample_once(params, {3.0F, 2.0F}, {0}) == 1);
  CHECK(sample_once(params, {3.0F, 1.4F}, {0, 0, 0}) == 0);
  CHECK(sample_once(params, {-1.0F, -1.5F}, {0}) == 1);
}

TEST_CASE("repeat_last_n limits how far back repeat_penalty looks") {
  SamplingParams params = greedy_sampling();
  params.repeat_penalty = 2.0;
  params.repeat_last_n = 2;
  CHECK(sample_once(params, {3.0F, 2.0F}, {0, 1, 1}) == 0);
  params.repeat_last_n = -1;
  CHECK(sample_once(params, {3.0F, 2.0F, 0.0F}, {0, 2, 2, 2}) == 1);
  params.repeat_last_n = 0;
  CHECK(sample_once(params, {3.0F, 2.0F}, {0}) == 0);
}

TEST_CASE("presence and frequency penalties count generated tokens and not the prompt") {
  SamplingParams params = greedy_sampling();
  params.presence_penalty = 0.6;
  params.frequency_penalty = 0.5;
  Sampler sampler(params, BannedIds{});
  const std::vector<int32_t> prompt = {0, 0, 0};
  const auto next = [&](float first, float second) { return sample(sampler, {first, second}, prompt); };
  CHECK(next(2.0F, 1.0F) == 0);  // the prompt's zeros do not count
  CHECK(next(2.0F, 1.0F) == 1);  // 2 - 0.6 - 0.5 < 1
  CHECK(next(2.0F, 0.5F) == 0);  // 0.9 against 0.5 - 1.1
  CHECK(next(2.0F, 1.6F) == 1);  // 2 - 0.6 - 2 * 0.5 against 1.6 - 1.1: 0.4 < 0.5
}

TEST_CASE("banned ids are never chosen") {
  Sampler sampler(greedy_sampling(), BannedIds{{1}, {}, 0});
  CHECK(sample(sampler, {0.0F, 9.0F, 1.0F}) == 2);
}

TEST_CASE("ids that may not come at first are free again after as many tokens") {
  Sampler sampler(greedy_sampling(), BannedIds{{2}, {1, 2}, 2});
  CHECK(sample(sampler, {0.0F, 9.0F, 10.0F}) == 0);
  CHECK(sample(sampler, {0.0F, 9.0F, 10.0F}) == 0);
  CHECK(sample(sampler, {0.0F, 9.0F, 10.0F}) == 1);
}

TEST_CASE("top_p 0 keeps the likeliest token, min_p 1 those that are as likely, top_k -1 all") {
  SamplingParams params = seeded(6);
  const std::vector<float> logits = {1.0F, 1.0F, 0.999F, 0.0F};
  params.top_k = -1;
  CHECK(frequencies(params, logits).size() == 4);
  params.min_p = 1.0;
  auto f = frequencies(params, logits);
  CHECK(f.size() == 2);
  CHECK(f.at(0) == Approx(0.5).margin(kMargin));
  params.min_p = 0.0;
  params.top_p = 0.0;
  f = frequencies(params, logits);
  CHECK(f.size() == 1);
  CHECK(f.count(0) == 1);
}

TEST_CASE("logit_bias is added after the penalties, and -infinity forbids an id") {
  SamplingParams params = greedy_sampling();
  params.logit_bias = {{0, 1.5}, {2, -HUGE_VAL}};
  CHECK(sample_once(params, {1.0F, 2.0F, 9.0F}) == 0);
  params.repeat_penalty = 2.0;  // of id 0: 1 / 2 + 1.5, which is 2, and not (1 + 1.5) / 2
  CHECK(sample_once(params, {1.0F, 1.9F, 9.0F}, {0}) == 0);
  CHECK(sample_once(params, {1.0F, 2.1F, 9.0F}, {0}) == 1);
  params.logit_bias[1] = -HUGE_VAL;
  CHECK(sample_once(params, {-5.0F, 2.1F, 9.0F}, {0}) == 0);
  params.logit_bias[0] = -HUGE_VAL;
  CHECK_THROWS_AS(sample_once(params, {-5.0F, 2.1F, 9.0F}), Error);
}

TEST_CASE("a text that grows gives the changes that its history gives at once") {
  for (const int64_t last_n : {-1, 0, 1, 5, 64}) {
    SamplingParams params = greedy_sampling();
    params.repeat_penalty = 1.5;
    params.repeat_last_n = last_n;
    params.frequency_penalty = 0.25;
    Sampler growing(params, BannedIds{});
    std::vector<int32_t> history = {3, 1, 3};
    std::map<int32_t, int64_t> generated;
    for (int step = 0; step < 300; ++step) {
      const SampleRow row = growing.next(history);
      const size_t n = last_n < 0 ? history.size() : std::min(history.size(), static_cast<size_t>(last_n));
      const std::set<int32_t> window(history.end() - static_cast<std::ptrdiff_t>(n), history.end());
      std::set<int32_t> divided;
      for (const LogitChange& c : row.changes) {
        if (c.divide != 1.0F) divided.insert(c.id);
        REQUIRE(c.subtract == 0.25F * static_cast<float>(generated[c.id]));
      }
      REQUIRE(divided == window);
      const int32_t id = step * step % 23;
      ++generated[growing.accept(id)];
      history.push_back(id);
      if (step % 50 == 49) history.insert(history.end(), {30, 31, 30});  // more than one token at a time
    }
  }
}

TEST_CASE("a row has one change for an id that several rules touch") {
  SamplingParams params = greedy_sampling();
  params.repeat_penalty = 2.0;
  params.presence_penalty = 0.5;
  params.frequency_penalty = 0.25;
  Sampler sampler(params, BannedIds{{3, 4}, {}, 0});
  sampler.accept(3);
  sampler.accept(3);
  sampler.accept(1);
  std::map<int32_t, LogitChange> changes;
  const SampleRow row = sampler.next(std::vector<int32_t>{3, 2, 3});
  for (const LogitChange& c : row.changes) changes[c.id] = c;
  CHECK(row.changes.size() == 4);
  const auto is = [&](int32_t id, float divide, float subtract, bool banned) {
    const LogitChange& c = changes.at(id);
    return c.divide == divide && c.subtract == subtract && c.banned == banned;
  };
  CHECK(is(1, 1.0F, 0.75F, false));
  CHECK(is(2, 2.0F, 0.0F, false));
  CHECK(is(3, 2.0F, 1.0F, true));
  CHECK(is(4, 1.0F, 0.0F, true));
}

TEST_CASE("a row carries the parameters, and a new number for each draw") {
  SamplingParams params = seeded(5);
  params.temperature = 0.7;
  params.top_k = 40;
  params.top_p = 0.9;
  params.min_p = 0.05;
  Sampler sampler(params, BannedIds{});
  const SampleRow row = sampler.next({});
  CHECK(row.temperature == 0.7);
  CHECK(row.top_k == 40);
  CHECK(row.top_p == 0.9);
  CHECK(row.min_p == 0.05);
  CHECK(row.changes.empty());
  CHECK(row.uniform >= 0.0);
  CHECK(row.uniform < 1.0);
  CHECK(sampler.next({}).uniform != row.uniform);
}

TEST_CASE("logits without a finite value are an error") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  CHECK_THROWS_AS(sample_once(greedy_sampling(), {nan, nan}), Error);
  CHECK_THROWS_AS(sample_once(greedy_sampling(), {-inf, -inf}), Error);
  CHECK_THROWS_AS(sample_once(seeded(1), {nan, inf}), Error);
  CHECK(sample_once(seeded(1), {nan, 1.0F}) == 1);
  try {
    sample_once(greedy_sampling(), {nan});
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::kRuntime);
    CHECK_THAT(e.what(), ContainsSubstring("logits are not finite"));
  }
}

TEST_CASE("a sampling parameter out of range is named with what was found") {
  const auto message = [](auto&& change) {
    SamplingParams params;
    change(params);
    try {
      params.validate();
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::kUsage);
      return std::string(e.what());
    }
    return std::string("accepted");
  };
  CHECK_THAT(message([](auto& p) { p.temperature = -0.5; }), ContainsSubstring("temperature"));
  CHECK_THAT(message([](auto& p) { p.temperature = std::nan(""); }), ContainsSubstring("temperature"));
  CHECK_THAT(message([](auto& p) { p.top_k = -2; }), ContainsSubstring("top_k"));
  CHECK_THAT(message([](auto& p) { p.top_p = -0.1; }), ContainsSubstring("top_p"));
  CHECK_THAT(message([](auto& p) { p.top_p = 1.5; }), ContainsSubstring("found 1.5"));
  CHECK_THAT(message([](auto& p) { p.min_p = 1.1; }), ContainsSubstring("min_p"));
  CHECK_THAT(message([](auto& p) { p.logit_bias[7] = HUGE_VAL; }), ContainsSubstring("logit_bias of 7"));
  CHECK_THAT(message([](auto& p) { p.logit_bias[7] = 1e39; }), ContainsSubstring("logit_bias of 7"));
  CHECK_THAT(message([](auto& p) { p.logit_bias[7] = std::nan(""); }), ContainsSubstring("logit_bias of 7"));
  CHECK_THAT(message([](auto& p) { p.repeat_penalty = 0.0; }), ContainsSubstring("repeat_penalty"));
  CHECK_THAT(message([](auto& p) { p.repeat_last_n = -2; }), ContainsSubstring("repeat_last_n"));
}

}  // namespace
}  // namespace seer
