// The forward pass on several ranks gives what it gives on one.
#include <map>

#include "tests/models/ranked_runner.h"
#include "tests/support/catch.h"

namespace seer {
namespace {

using testing::DecoderRunner;
using testing::difference;
using testing::GatesDir;
using testing::Logits;
using testing::Part;
using testing::random_ids;
using testing::RankedRunner;
using testing::TinyGates;
using testing::TinyModel;
using testing::TinyShape;

// Sums of partial sums differ by some units in the last place of logits of size 1 or so.
constexpr double kRanksTolerance = 2e-5;
constexpr int64_t kRanksBlock = 16;
const std::vector<int32_t> kRanksPages = {4, 0, 7, 2, 9, 1, 3, 5, 8};

TEST_CASE("ranks: prefill and decode give one rank's logits, KV heads shared or not") {
  TinyShape many_kv, tied, plain, qwen2, qwen3;
  qwen2.architecture = "Qwen2ForCausalLM";
  qwen3.architecture = "Qwen3ForCausalLM";
  qwen3.n_kv_heads = 1;
  many_kv.n_kv_heads = 4;
  tied.tied = true;
  plain.attention_bias = plain.mlp_bias = false;
  plain.n_kv_heads = 1;
  for (const TinyShape& shape : {TinyShape(), many_kv, tied, plain, qwen2, qwen3}) {
    const TinyModel model(shape);
    const std::vector<int32_t> ids = random_ids(130, shape.n_vocab, 3);
    const Part prompt{{ids.begin(), ids.begin() + 129}, 0, {3, 1, 5}};
    const Part next{{ids.back()}, 129, {3, 1, 5}};
    DecoderRunner one(model);
    const Logits prefilled = one.step({prompt}), decoded = one.step({}, {next});
    for (const int n_ranks : {2, 4}) {
      INFO(shape.architecture << ", " << n_ranks << " ranks, " << shape.n_kv_heads << " KV heads, tied "
                              << shape.tied);
      RankedRunner ranked(model, n_ranks);
      CHECK(difference(ranked.step({prompt}), prefilled) < kRanksTolerance);
      CHECK(difference(ranked.step({}, {next}), decoded) < kRanksTolerance);
    }
  }
}

TEST_CASE("ranks: a step of prefills and decodes, with some rows' logits or none, gives one rank's") {
  const TinyModel model;
  const Part first{random_ids(64, 53, 1), 0, {0}}, second{random_ids(70, 53, 2), 0, {1, 2}};
  const Part decode{{7}, 64, {0, 3}};
  DecoderRunner one(model);
  RankedRunner ranked(model, 2);
  CHECK(difference(ranked.step({first}), one.step({first})) < kRanksTolerance);
  const std::vector<int64_t> rows = {0, 5, 69, 70};
  CHECK(difference(ranked.step({second}, {decode}, rows), one.step({second}, {decode}, rows)) <
        kRanksTolerance);
}

TEST_CASE("ranks: sparse prefill with gates of both kinds gives one rank's logits, reports and counts") {
  TinyGates two_weights, three_pools;
  two_weights.double_linear = true;
  two_weights.d_gate = 12;
  three_pools.double_linear = true;
  three_pools.gate_type = "Qmaxminavg_Kavg";
  three_pools.n_q_pools = 3;
  three_pools.n_k_pools = 1;
  const TinyModel model;
  const Part whole{random_ids(9 * kRanksBlock - 3, 53, 5), 0, kRanksPages};
  for (TinyGates shape : {TinyGates(), two_weights, three_pools}) {
    shape.threshold_factors = {{0.2, 2.5, 1, 0.6}, {1.7, 0.4, 0.1, 1.2}};
    const GatesDir gates(model, shape);
    for (const auto method : {SelectRule::Method::kThreshold, SelectRule::Method::kHeadThreshold,
                              SelectRule::Method::kNzRatio, SelectRule::Method::kNzRatioRow}) {
      Part part = whole;
      part.select = SelectRule{method, 0.4, false, 9};
      if (part.select->by_threshold()) part.select->value = 0.15;
      using ReportsOfLayers = std::map<int64_t, std::pair<std::vector<float>, std::vector<int32_t>>>;
      const auto collect = [](ReportsOfLayers* into) {
        return [into](const GateReport& r) {
          if (r.n_heads != 4) throw std::logic_error("not all heads");
          auto& [scores, kept] = (*into)[r.layer];
          for (int64_t list = 0; list < r.n_heads * r.n_rows; ++list) {
            scores.insert(scores.end(), r.scores + list * r.n_blocks, r.scores + (list + 1) * r.n_blocks);
            kept.push_back(-1);  // between lists
            kept.insert(kept.end(), r.blocks + list * r.n_blocks,
                        r.blocks + list * r.n_blocks + r.counts[list]);
          }
        };
      };
      DecoderRunner one(model, gates.options());
      ReportsOfLayers expected;
      one.on_gate(collect(&expected));
      const Logits logits = one.step({part});
      REQUIRE(one.stats().kept_blocks < one.stats().causal_blocks);
      for (const int n_ranks : {2, 4}) {
        INFO(n_ranks << " ranks, " << shape.gate_type << ", two weights " << shape.double_linear);
        RankedRunner ranked(model, n_ranks, gates.options());
        ReportsOfLayers found;
        ranked.leader().on_gate(collect(&found));
        CHECK(difference(ranked.step({part}), logits) < kRanksTolerance);
        CHECK(ranked.stats().kept_blocks == one.stats().kept_blocks);
        CHECK(ranked.stats().causal_blocks == one.stats().causal_blocks);
        REQUIRE(found.size() == expected.size());
        for (const auto& [layer, report] : expected) {
          CHECK(found[layer].second == report.second);
          CHECK(difference({found[layer].first}, std::vector<std::vector<float>>{report.first}) < 1e-5);
        }
        ranked.leader().on_gate({});
        CHECK(difference(ranked.step({part}), logits) < kRanksTolerance);  // unobserved, too
      }
    }
  }
}

TEST_CASE("ranks: chunks of a sparse prompt give what it gives at once") {
  const TinyModel model;
  const GatesDir gates(model);
  const std::vector<int32_t> ids = random_ids(8 * kRanksBlock + 5, 53, 9);
  const auto n = static_cast<int64_t>(ids.size());
  const SelectRule rule{SelectRule::Method::kThreshold, 0.15, true, 9};
  RankedRunner at_once(model, 2, gates.options()), chunked(model, 4, gates.options());
  const Logits expected = at_once.step({{ids, 0, kRanksPages, n, rule}});
  Logits found;
  for (int64_t begin = 0; begin < n; begin += 3 * kRanksBlock) {
    const int64_t end = std::min(n, begin + 3 * kRanksBlock);
    const Logits part =
        chunked.step({{{ids.begin() + begin, ids.begin() + end}, begin, kRanksPages, n, rule}});
    found.insert(found.end(), part.begin(), part.end());
  }
  CHECK(difference(found, expected) < kRanksTolerance);
}

TEST_CASE("ranks: logits that are not wanted any more end the rounds on every rank") {
  const TinyModel model;
  RankedRunner ranked(model, 2);
  std::vector<int64_t> rounds;
  ranked.leader().on_logits([&](int64_t first, int64_t) {
    rounds.push_back(first);
    return rounds.size() < 2;
  });
  const Part part{random_ids(30, 53, 1), 0, {0}};
  CHECK(ranked.step({part}).size() == 14);
  CHECK(rounds == std::vector<int64_t>{0, 7});
  rounds.clear();
  CHECK(ranked.step({part}).size() == 14);  // the ranks are in step
}

TEST_CASE("ranks: what a callback throws leaves the ranks in step") {
  const TinyModel model;
  const GatesDir gates(model);
  RankedRunner ranked(model, 2, gates.options());
  const SelectRule rule{SelectRule::Method::kThreshold, 0.15, false, 9};
  const Part part{random_ids(9 * kRanksBlock, 53, 5), 0, kRanksPages, 0, rule};
  const Logits expected = ranked.step({part});
  int n_reports = 0;
  ranked.leader().on_gate([&](const GateReport&) {
    ++n_reports;
    throw std::logic_error("the observer has seen enough");
  });
  ranked.step({part});
  CHECK(ranked.thrown() == "the observer has seen enough");
  CHECK(n_reports == 1);
  ranked.leader().on_gate({});
  ranked.leader().on_logits([&](int64_t first, int64_t) -> bool {
    if (first == 7) throw std::logic_error("no more logits");
    return true;
  });
  ranked.step({part});
  CHECK(ranked.thrown() == "no more logits");
  ranked.leader().on_logits({});
  CHECK(difference(ranked.step({part}), expected) < kRanksTolerance);
  CHECK(ranked.thrown().empty());
}

TEST_CASE("ranks: a rank that fails ends the step of the others with its message") {
  const TinyModel model;
  RankedRunner ranked(model, 4);
  ranked.comm(2).abort(ErrorKind::kMemory, "rank 2 of 4: out of memory");
  const std::vector<std::string> errors = ranked.try_step({{random_ids(5, 53, 1), 0, {0}}});
  CHECK(errors == std::vector<std::string>(4, "rank 2 of 4: out of memory"));
}

}  // namespace
}  // namespace seer
