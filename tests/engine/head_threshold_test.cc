// head_threshold in the engine: each head follows a threshold of its own, whose factors come from the request
// or from the gates' file. Factors that are not allowed are refused.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/engine/demo.h"
#include "tests/engine/gates_with_factors.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer {
namespace {

using namespace testing;

constexpr int64_t kLayers = kDemoLayers, kHeads = kDemoHeads, kRows = 16;

struct Choice {
  std::vector<uint8_t> masks;  // of all layers, heads and rows
  std::vector<std::vector<float>> logits;
  double density = 0.0;

  friend bool operator==(const Choice&, const Choice&) = default;
};

Choice choice_of(Engine& engine, const SparseRule& rule, const std::vector<float>& factors) {
  Choice out;
  EvaluateRequest request;
  request.tokens = document(64 * kRows - 24);
  request.sparse = rule;
  request.head_factors = factors;
  request.on_gate = [&](const GateRows& rows) {
    out.masks.insert(out.masks.end(), rows.mask, rows.mask + rows.n_heads * rows.n_rows * rows.n_blocks);
  };
  request.on_logits = [&](int64_t, int64_t n_rows, int64_t n_vocab, const float* logits) {
    out.logits.emplace_back(logits, logits + n_rows * n_vocab);
    return true;
  };
  out.density = engine.new_session()->evaluate(request).density;
  return out;
}

TEST_CASE("under head_threshold each head keeps the blocks above its own threshold") {
  const auto engine = load_demo(1024, 256);
  const std::vector<float> factors = some_head_factors();
  EvaluateRequest request;
  request.tokens = document(64 * kRows - 24);
  request.sparse = SparseRule::parse("head_threshold=0.04");
  request.head_factors = factors;
  int64_t n_checked = 0, n_dropped = 0;
  request.on_gate = [&](const GateRows& rows) {
    for (int64_t list = 0; list < rows.n_heads * rows.n_rows; ++list) {
      const int64_t row = rows.first_row + list % rows.n_rows, head = list / rows.n_rows;
      const uint8_t* mask = rows.mask + list * rows.n_blocks;
      const float* scores = rows.scores + list * rows.n_blocks;
      const float threshold = 0.04F * factors[static_cast<size_t>(rows.layer * kHeads + head)];
      const bool none = std::none_of(scores, scores + row + 1, [&](float s) { return s > threshold; });
      for (int64_t j = 0; j <= row; ++j) {
        const bool kept = row >= kRows - 2 || scores[j] > threshold || (none && j == row);
        INFO("layer " << rows.layer << ", head " << head << ", row " << row << ", block " << j);
        REQUIRE((mask[j] != 0) == kept);
        ++n_checked;
        n_dropped += kept ? 0 : 1;
      }
    }
  };
  engine->new_session()->evaluate(request);
  CHECK(n_checked == kLayers * kHeads * kRows * (kRows + 1) / 2);
  CHECK(n_dropped > n_checked / 4);
}

TEST_CASE("head_threshold with factors of 1 is threshold") {
  const auto engine = load_demo(1024, 256);
  const Choice plain = choice_of(*engine, SparseRule::parse("threshold=0.03"), {}),
               same = choice_of(*engine, SparseRule::parse("head_threshold=0.03"),
                                std::vector<float>(kLayers * kHeads, 1.0F));
  CHECK(plain == same);
  CHECK_FALSE(plain == choice_of(*engine, SparseRule::parse("head_threshold=0.03"), some_head_factors()));
}

TEST_CASE("factors of the gates' file do what factors of a request do, and other rules do not read them") {
  const std::vector<float> factors = some_head_factors();
  const GatesWithFactors gates(factors);
  const auto engine = gates.load(), plain = load_demo(1024, 256);
  CHECK(engine->model().gates->has_head_factors);
  CHECK(engine->model().gates->default_rule.to_string() == "head_threshold=0.02");
  const SparseRule rule = SparseRule::parse("head_threshold=0.02");
  const Choice own = choice_of(*engine, rule, {});
  CHECK(own == choice_of(*plain, rule, factors));
  CHECK_FALSE(own == choice_of(*engine, rule, std::vector<float>(kLayers * kHeads, 1.0F)));
  for (const SparseRule& other : {kThreshold, kNzRatio, kNzRatioRow})
    CHECK(choice_of(*engine, other, {}) == choice_of(*plain, other, {}));
  GenerateRequest request = greedy(document(700), 4);
  request.sparse = rule;
  const GenerateResult named = engine->new_session()->generate(request);
  request.sparse.reset();  // the gates' own rule, which is the same
  const GenerateResult standard = engine->new_session()->generate(request);
  CHECK(named.tokens == standard.tokens);
  CHECK(named.stats.density == standard.stats.density);
  CHECK(named.stats.density < 1.0);
}

TEST_CASE("head_threshold without factors, and factors that do not fit, are refused") {
  const auto engine = load_demo(1024, 256);
  const SparseRule rule = SparseRule::parse("head_threshold=0.02");
  const auto refusal = [&](const std::vector<float>& factors) {
    try {
      choice_of(*engine, rule, factors);
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kUsage);
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(refusal({}), ContainsSubstring("seer_threshold_factors") && ContainsSubstring("has none"));
  CHECK_THAT(refusal({1, 1, 1}), ContainsSubstring("each of 4 heads of 6 layers, found 3"));
  for (const float bad : {0.0F, -1.0F, 1001.0F, NAN, INFINITY}) {
    std::vector<float> factors = some_head_factors();
    factors[5] = bad;
    CHECK_THAT(refusal(factors), ContainsSubstring("above 0 and up to 1000"));
  }
  CHECK_THROWS_AS(engine->new_session()->generate(greedy(document(100), 1, rule)), Error);
}

}  // namespace
}  // namespace seer
