#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "tests/kernels/cases.h"

namespace seer::testing {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr double kAlmostOne = 1.0 - 0x1p-53;

// One row of logits under several rules.
SampleCase same_row(std::string name, const std::vector<float>& logits, std::vector<CaseSampleRow> rows) {
  const auto n = static_cast<int64_t>(rows.size());
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) values.insert(values.end(), logits.begin(), logits.end());
  return {std::move(name),
          HostTensor(DType::kF32, {n, static_cast<int64_t>(logits.size())}, std::move(values)),
          std::move(rows), true};
}

// Returns the rule with draws all over [0, 1), which together show the kept tokens. No draw is on the edge of
// a share that is a power of two.
std::vector<CaseSampleRow> swept(const CaseSampleRow& rule, int n_draws) {
  std::vector<CaseSampleRow> rows;
  for (int i = 0; i < n_draws; ++i) {
    rows.push_back(rule);
    rows.back().uniform = (i + 0.37) / n_draws;
  }
  rows.push_back(rule);
  rows.back().uniform = 0.0;
  rows.push_back(rule);
  rows.back().uniform = kAlmostOne;
  return rows;
}

CaseSampleRow rule(double temperature, int64_t top_k, double top_p, double min_p) {
  return {temperature, top_k, top_p, min_p, 0.0, {}};
}

std::vector<float> halving(int n) {  // gives probabilities of 1 : 1/2 : 1/4 and so on
  std::vector<float> logits(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) logits[static_cast<size_t>(i)] = static_cast<float>(-i) * std::log(2.0F);
  return logits;
}

// Returns logits like a model's: most around 0, a few far above.
std::vector<float> model_like(Random& random, int64_t n_vocab) {
  std::vector<float> logits;
  for (int64_t i = 0; i < n_vocab; ++i) {
    float x = 0.0F;
    for (int k = 0; k < 6; ++k) x += random.uniform(-2.0F, 2.0F);
    logits.push_back(random.below(500) == 0 ? x + random.uniform(5.0F, 14.0F) : x);
  }
  return logits;
}

}  // namespace

std::vector<SampleCase> exact_sample_cases() {
  std::vector<SampleCase> cases;
  const CaseSampleRow greedy, plain = rule(1.0, 0, 1.0, 0.0);
  const auto add = [&](std::string name, const std::vector<float>& logits, std::vector<CaseSampleRow> rows) {
    cases.push_back(same_row(std::move(name), logits, std::move(rows)));
  };
  add("greedy takes the lowest id of equals", {0.0F, 3.0F, 3.0F, 1.0F, 3.0F, 2.0F, 2.0F}, {greedy});
  add("greedy, 0 and -0 are equal", {-1.0F, -0.0F, 0.0F}, {greedy});
  add("greedy among negative logits", {-3.0F, -1.5F, -2.0F}, {greedy});
  add("one token", {-5.0F}, {greedy, plain, rule(1.0, 1, 0.1, 0.9)});
  for (const CaseSampleRow& any : {greedy, plain, rule(0.7, 3, 0.9, 0.1)}) {
    const std::string how = any.temperature == 0.0 ? "greedy" : any.top_k == 0 ? "drawn" : "by rules";
    add("NaN never wins, " + how, {kNan, 1.0F, kNan, -kInf}, {any});
    add("only NaN, " + how, {kNan, kNan, kNan}, {any});
    add("only -inf, " + how, std::vector<float>(320, -kInf), {any});
    add("an infinite logit, " + how, {0.0F, kInf, 1.0F}, {any});
    add("one finite among -inf and NaN, " + how, {-kInf, kNan, -1e30F, -kInf, kNan}, {any});
  }
  add("far apart", {3e38F, -3e38F, 0.0F}, swept(plain, 4));

  // Equal tokens have weights of exactly 1 everywhere.
  for (const int64_t n : {7, 320, 4096, 128256}) {
    const std::vector<float> equal(static_cast<size_t>(n), 2.5F);
    const std::string name = std::to_string(n) + " equal tokens, ";
    add(name + "plain", equal, swept(plain, 5));
    add(name + "top_k 1", equal, swept(rule(0.8, 1, 1.0, 0.0), 2));
    add(name + "top_k 5", equal, swept(rule(0.8, 5, 1.0, 0.0), 11));
    add(name + "top_k of all and more", equal, swept(rule(0.8, n + 1, 1.0, 0.0), 2));
    add(name + "top_p", equal, swept(rule(1.0, 0, 2.5 / static_cast<double>(n), 0.0), 7));  // three
    add(name + "top_k 6, top_p", equal, swept(rule(1.0, 6, 0.45, 0.0), 7));                 // three
    add(name + "min_p", equal, swept(rule(1.0, 0, 1.0, 0.99), 3));
  }
  // 100 tokens at the top, scattered, with a tie at the cut.
  std::vector<float> tied(4096, 1.0F);
  for (size_t i = 0; i < 100; ++i) tied[i * 40 + 7] = 2.0F;
  add("top_k cuts the upper of two ties", tied, swept(rule(1.0, 63, 1.0, 0.0), 64));
  add("top_k cuts between two ties", tied, swept(rule(1.0, 100, 1.0, 0.0), 64));
  add("top_k cuts the lower of two ties", tied, swept(rule(1.0, 101, 1.0, 0.0), 64));
  add("top_k, then top_p among the same equals", tied, swept(rule(1.0, 40, 0.31, 0.0), 32));
  add("top_p cuts a tie", tied, swept(rule(0.25, 0, 0.02, 0.0), 32));

  const std::vector<float> halves = halving(16);
  add("top_p keeps the token that reaches it", halves, swept(rule(1.0, 0, 0.8, 0.0), 16));
  add("top_p below the first token", halves, swept(rule(1.0, 0, 1e-9, 0.0), 4));
  // 2/3 reaches it, so one token is kept
  add("top_p of what top_k kept", halves, swept(rule(1.0, 2, 0.6, 0.0), 8));
  add("min_p between two tokens", halves, swept(rule(1.0, 0, 1.0, 0.2), 16));
  add("min_p counts in top_p's total", halves, swept(rule(1.0, 0, 0.7, 0.4), 16));
  add("a temperature changes top_p and min_p", halves, swept(rule(2.0, 0, 0.8, 0.2), 16));
  add("the coldest temperature is greedy", halves, swept(rule(1e-300, 0, 1.0, 0.0), 3));
  add("the hottest is uniform over what top_k kept", halves, swept(rule(1e300, 4, 1.0, 0.0), 9));
  std::vector<float> reversed(halves.rbegin(), halves.rend());
  add("the draw walks ids, not ranks", reversed, swept(rule(1.0, 5, 1.0, 0.0), 32));

  CaseSampleRow changed;
  changed.changes = {{0, 2.0F, 0.0F, false}};
  add("divide halves a positive logit", {3.0F, 2.0F}, {changed});
  add("divide doubles a negative one", {-1.0F, -1.5F}, {changed});
  changed.changes = {{1, 2.0F, 1.5F, false}, {2, 1.0F, 0.5F, false}};
  add("subtract comes after divide", {1.0F, 6.0F, 2.0F}, {changed});  // 1, 1.5, 1.5
  changed.changes = {{1, 0.01F, -100.0F, true}, {3, 1.0F, 0.0F, true}};
  add("banned wins over everything", {0.5F, 9.0F, 0.4F, 9.0F}, {changed});
  changed.changes = {{-1, 2.0F, 5.0F, true}, {2, 2.0F, 5.0F, true}, {INT32_MAX, 2.0F, 0.0F, true}};
  add("ids outside the vocabulary change nothing", {1.0F, 2.0F}, {changed, changed});
  changed.changes = {{0, 1.0F, 0.0F, true}, {1, 1.0F, 0.0F, true}};
  add("all banned", {1.0F, 2.0F}, {changed});
  changed.temperature = 1.0;
  add("all banned, drawn", {1.0F, 2.0F}, {changed});
  changed.changes = {{1, 1.0F, 0.0F, true}};
  add("a row's changes are its own", {1.0F, 1.0F}, {plain, changed, plain});
  return cases;
}

std::vector<SampleCase> random_sample_cases() {
  Random random(7);
  std::vector<SampleCase> cases;
  const std::pair<const char*, CaseSampleRow> rules[] = {
      {"greedy", {}},
      {"plain", rule(1.0, 0, 1.0, 0.0)},
      {"hot", rule(4.0, 0, 1.0, 0.0)},
      {"top_k 1", rule(0.8, 1, 1.0, 0.0)},
      {"top_k 40", rule(0.8, 40, 1.0, 0.0)},
      {"top_k 5000", rule(1.5, 5000, 1.0, 0.0)},
      {"top_p 0.9", rule(0.9, 0, 0.9, 0.0)},
      {"top_p 0.97, hot", rule(5.0, 0, 0.97, 0.0)},
      {"min_p 0.05", rule(0.8, 0, 1.0, 0.05)},
      {"top_k 50, top_p 0.95", rule(0.6, 50, 0.95, 0.0)},
      {"top_k 3000, top_p 0.9, hot", rule(3.0, 3000, 0.9, 0.0)},
      {"all three", rule(0.8, 40, 0.95, 0.05)},
      {"top_p 0.95, min_p 0.02", rule(1.0, 0, 0.95, 0.02)},
  };
  for (const int64_t n_vocab : {1, 7, 320, 4096, 128256})
    for (const auto& [name, base] : rules)
      for (const bool penalised : {false, true}) {
        const int64_t n = n_vocab > 100000 ? (penalised ? 1 : 2) : 6;
        SampleCase c;
        c.name = std::to_string(n_vocab) + " tokens, " + name + (penalised ? ", penalised" : "");
        std::vector<float> values;
        for (int64_t r = 0; r < n; ++r) {
          const std::vector<float> logits = model_like(random, n_vocab);
          values.insert(values.end(), logits.begin(), logits.end());
          CaseSampleRow row = base;
          row.uniform = static_cast<double>(random.next() >> 11) * 0x1p-53;
          if (penalised) {
            // These are more changes than a device makes room for beforehand.
            const std::vector<int32_t> ids = random.permutation(n_vocab);
            const auto n_changes = std::min<size_t>(ids.size(), static_cast<size_t>(random.below(3000) + 1));
            for (size_t i = 0; i < n_changes; ++i)
              row.changes.push_back({ids[i], random.uniform(0.8F, 1.6F), random.uniform(-0.5F, 2.0F),
                                     ids.size() > 1 && i % 7 == 0});
          }
          c.rows.push_back(std::move(row));
        }
        c.logits = HostTensor(DType::kF32, {n, n_vocab}, std::move(values));
        cases.push_back(std::move(c));
      }
  return cases;
}

}  // namespace seer::testing
