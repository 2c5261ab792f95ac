// The parts of seer tune that need no model: the choice of a rule, the gates' config.json, the picture and
// the page.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "seer/error.h"
#include "seer/sparse.h"
#include "tests/support/catch.h"
#include "tests/support/test_data.h"
#include "tools/seer/tune/divergence.h"
#include "tools/seer/tune/gate_rule_file.h"
#include "tools/seer/tune/head_effects.h"
#include "tools/seer/tune/rule_trial.h"
#include "tools/seer/tune/trade_off_plot.h"
#include "tools/seer/tune/tune_report.h"
#include "tools/seer/tune/tune_rows.h"

namespace seer::cli {
namespace {

TuneRow row(const std::string& rule, double density, double ratio, double error = 1e-4, int64_t found = 10) {
  TuneRow r;
  r.rule = rule;
  r.family = rule.substr(0, rule.find('='));
  r.dense = rule == "dense";
  r.may_be_chosen = !r.dense;
  r.density = density;
  r.perplexity = 20.0 * ratio;
  r.ratio = ratio;
  r.ratio_error = r.dense ? 0.0 : error;
  r.n_windows = 4;
  r.n_found = found;
  r.n_look_ups = 10;
  return r;
}

TuneTable table_of(std::vector<TuneRow> rows) {
  TuneTable table;
  table.rows = std::move(rows);
  return table;
}

TuneTable four_rules() {
  return table_of({row("dense", 1.0, 1.0), row("threshold=0.01", 0.2, 1.009),
                   row("threshold=0.02", 0.12, 1.025), row("nz_ratio=0.2", 0.22, 1.012),
                   row("nz_ratio=0.1", 0.11, 1.04)});
}

std::string chosen(TuneTable table, const TuneTarget& target) {
  choose_rule(table, target);
  REQUIRE(table.chosen() != nullptr);
  return table.chosen()->rule;
}

std::string refused(TuneTable table, const TuneTarget& target) {
  try {
    choose_rule(table, target);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUsage);
    CHECK(table.chosen() == nullptr);
    return error.what();
  }
  return "";
}

TEST_CASE("the rule under a limit of the ratio is the one with the lowest density") {
  CHECK(chosen(four_rules(), {{}, 1.01, 0}) == "threshold=0.01");
  CHECK(chosen(four_rules(), {{}, 1.03, 0}) == "threshold=0.02");
  CHECK(chosen(four_rules(), {{}, 1.04, 0}) == "nz_ratio=0.1");  // the limit itself is within it
}

TEST_CASE("the rule under a limit of the density is the one that loses least") {
  CHECK(chosen(four_rules(), {0.12, {}, 0}) == "threshold=0.02");
  CHECK(chosen(four_rules(), {0.5, {}, 0}) == "threshold=0.01");
  CHECK(chosen(four_rules(), {0.25, 1.03, 0}) == "threshold=0.02");  // both: the cheapest within them
}

TEST_CASE("a rule that loses more look-ups than are allowed is not chosen") {
  TuneTable table = table_of({row("dense", 1.0, 1.0), row("threshold=0.01", 0.2, 1.009, 1e-4, 8)});
  CHECK_THAT(refused(table, {{}, 1.01, 0}), ContainsSubstring("--max-lost-look-ups"));
  CHECK_THAT(refused(table, {{}, 1.01, 1}), ContainsSubstring("finds 8 of 10 look-ups, 2 fewer than dense"));
  CHECK(chosen(table, {{}, 1.01, 2}) == "threshold=0.01");
  table.rows.push_back(row("threshold=0.001", 0.6, 1.001));
  CHECK(chosen(table, {{}, 1.01, 1}) == "threshold=0.001");
  table.rows[0].n_found = 7;  // dense attention finds fewer still
  CHECK(chosen(table, {{}, 1.01, 0}) == "threshold=0.01");
}

TEST_CASE("a target that no rule meets is answered with the nearest one and its figures") {
  const std::string by_density = refused(four_rules(), {0.05, {}, 0});
  CHECK_THAT(by_density, ContainsSubstring("no rule for prompts meets --target-density 0.05"));
  CHECK_THAT(by_density,
             ContainsSubstring("nz_ratio=0.1 keeps 11.0% of the blocks at a perplexity ratio of 1.0400"));
  CHECK_THAT(
      refused(four_rules(), {{}, 1.001, 0}),
      ContainsSubstring("threshold=0.01 keeps 20.0% of the blocks at a perplexity ratio of 1.0090 ± 0.0001"));
  TuneTable none = four_rules();
  for (TuneRow& r : none.rows) r.may_be_chosen = false;
  CHECK_THAT(refused(none, {{}, 2.0, 0}), ContainsSubstring("can be chosen"));
}

TEST_CASE("what is uncertain about the chosen rule is said, and nothing if it is certain") {
  TuneTable certain = four_rules();
  CHECK(choose_rule(certain, {{}, 1.015, 0}).size() == 1);
  TuneTable near =
      table_of({row("dense", 1.0, 1.0), row("threshold=0.01", 0.2, 1.009, 1e-3),
                row("threshold=0.02", 0.12, 1.011, 1e-3), row("threshold=0.05", 0.05, 1.2, 1e-3)});
  const std::vector<std::string> doubts = choose_rule(near, {{}, 1.01, 0});
  REQUIRE(doubts.size() == 2);
  CHECK_THAT(doubts[1], ContainsSubstring("its ratio may be 1.0110, beyond 1.01"));
  CHECK_THAT(doubts[1], ContainsSubstring("threshold=0.02 (12.0%)"));
  CHECK(doubts[1].find("0.05") == std::string::npos);
  TuneTable equal = table_of({row("dense", 1.0, 1.0), row("threshold=0.02", 0.12, 1.020, 1e-3),
                              row("nz_ratio=0.1", 0.11, 1.022, 1e-3)});
  CHECK_THAT(choose_rule(equal, {0.12, {}, 0}).at(1),
             ContainsSubstring("these may lose no more: nz_ratio=0.1"));
}

TEST_CASE("values are replaced in a JSON text, missing ones added, and every other byte stays") {
  const std::string text =
      "{\n  \"a\": {\"seerattn_threshold\": 1, \"x\": \"}\\\",{\"},\n  \"seerattn_threshold\" :  0.002 ,\n"
      "  \"big\": 1000000000000000019884624838656, \"e\": 1e-05\n}\n";
  std::string expected = text;
  expected.replace(expected.find("0.002"), 5, "0.01");
  CHECK(with_members(text, {{"seerattn_threshold", "0.01"}}) == expected);
  std::string added = text;
  added.insert(added.find("\n}\n"), ", \"seerattn_nz_ratio\": 0.2");
  CHECK(with_members(text, {{"seerattn_nz_ratio", "0.2"}}) == added);
  CHECK(with_members("{\n    \"a\": 1\n}", {{"b", "2"}}) == "{\n    \"a\": 1,\n    \"b\": 2\n}");
  CHECK(with_members("{}", {{"b", "2"}, {"c", "\"x\""}}) == "{\"b\": 2,\"c\": \"x\"}");
  CHECK(with_members(R"({"\u0062": [1, {"b": 3}]})", {{"b", "2"}}) == R"({"\u0062": 2})");
  CHECK_THROWS_AS(with_members("[1]", {{"b", "2"}}), std::runtime_error);
  CHECK_THROWS_AS(with_members("{\"a\": ", {{"b", "2"}}), std::runtime_error);
}

TEST_CASE("config.json has keys for every rule but dense, a threshold of 0, and decode gates' ratio") {
  CHECK(config_members(SparseRule::parse("nz_ratio_row=0.1")) ==
        JsonMembers{{"seerattn_sparsity_method", "\"nz_ratio_row\""}, {"seerattn_nz_ratio", "0.1"}});
  CHECK(config_members(SparseRule::parse("head_threshold=0.02")) ==
        JsonMembers{{"seerattn_sparsity_method", "\"head_threshold\""}, {"seerattn_threshold", "0.02"}});
  CHECK(config_members(SparseRule::parse("head_threshold=0")).empty());
  CHECK(factor_members({0.5F, 1.25F, 2, 1, 0.873F, 1}, 3) ==
        JsonMembers{{"seer_threshold_factors", "[[0.5, 1.25, 2], [1, 0.873, 1]]"}});
  CHECK(config_members(SparseDecodeRule::parse("budget=1000000")).back().second == "1000000");
  for (const char* rule : {"dense", "threshold=0"}) {
    CHECK(config_members(SparseRule::parse(rule)).empty());
    CHECK(config_members(SparseDecodeRule::parse(rule)).empty());
  }
  CHECK(config_members(SparseDecodeRule::parse("ratio=0.1")).empty());
}

TEST_CASE("the grids begin with dense, and that of decoding has budgets that fit the gates and the window") {
  CHECK(prompt_grid({}, false).front().dense());
  CHECK(prompt_grid({}, false).size() > 10);
  CHECK(prompt_grid({SparseRule::parse("dense")}, true).size() == 1);
  const auto n_by_head = [](const std::vector<RulePair>& rules) {
    return std::count_if(rules.begin(), rules.end(),
                         [](const RulePair& r) { return r.to_string().starts_with("head_threshold="); });
  };
  CHECK(n_by_head(prompt_grid({}, false)) == 0);
  CHECK(n_by_head(prompt_grid({}, true)) >= 10);
  std::vector<std::string> budgets;
  for (const RulePair& rule : decode_grid({}, 64, 2048))
    if (rule.to_string().starts_with("budget=")) budgets.push_back(rule.to_string());
  CHECK(budgets == std::vector<std::string>{"budget=256", "budget=512", "budget=1024"});
}

// Runs `n_windows` windows of a model in which each head's dropped blocks cost what `costs` says, but for
// `noise` that differs from window to window.
std::vector<float> factors_for(const std::vector<double>& costs, int64_t n_windows, double noise) {
  HeadEffects effects(2, static_cast<int64_t>(costs.size()) / 2, 5);
  REQUIRE(effects.n_runs() == 8);
  for (int64_t w = 0; w < n_windows; ++w) {
    effects.begin_window();
    for (int64_t run = 0; run < effects.n_runs(); ++run) {
      const std::vector<float> factors = effects.factors_of_run(run);
      REQUIRE(factors.size() == costs.size());
      double loss = 3.0 + static_cast<double>(w), density = 0.2;
      for (size_t h = 0; h < costs.size(); ++h) {
        const double dropped = (factors[h] > 1.0F ? 0.01 : -0.01) * static_cast<double>(h + 1);
        const double wrong = (static_cast<int64_t>(h) + w) % 2 == 0 ? noise : -noise;
        loss += (costs[h] + wrong) * dropped;
        density -= dropped;
      }
      effects.add(run, loss, density);
    }
  }
  return effects.factors();
}

TEST_CASE("a head whose dropped blocks cost more than the mean gets a lower threshold, by the square root") {
  // The mean cost is weighted by the blocks that heads drop, which are as 1, 2, 3 and so on.
  const std::vector<double> costs = {0.1, 0.1, 0.1, 0.2, 0.05, 0.1};
  double mean = 0.0;
  for (size_t h = 0; h < costs.size(); ++h) mean += costs[h] * static_cast<double>(h + 1) / 21.0;
  const std::vector<float> factors = factors_for(costs, 2, 0.0);
  for (size_t h = 0; h < costs.size(); ++h)
    CHECK(factors[h] == Approx(std::sqrt(mean / costs[h])).margin(6e-4));
  const std::vector<float> far = factors_for({0.1, 0.1, 5.0, 0.1, -0.1, 0.0}, 2, 0.0);
  CHECK(far[2] == 0.5F);  // the ends of the range
  CHECK(far[4] == 2.0F);
}

TEST_CASE("factors are near 1 if windows disagree, and 1 if dropping blocks costs nothing") {
  const std::vector<double> costs = {0.1, 0.1, 0.1, 0.2, 0.05, 0.1};
  const std::vector<float> sure = factors_for(costs, 4, 0.0), unsure = factors_for(costs, 4, 0.2);
  for (size_t h = 0; h < costs.size(); ++h)
    CHECK(std::abs(unsure[h] - 1.0F) <= std::abs(sure[h] - 1.0F) + 0.02F);
  CHECK(std::abs(unsure[4] - 1.0F) < 0.5F * std::abs(sure[4] - 1.0F));
  CHECK(factors_for({-0.1, -0.1, -0.1, -0.1, -0.1, -0.1}, 2, 0.0) == std::vector<float>(6, 1.0F));
}

TEST_CASE(
    "the runs of a window change each head's threshold up as often as down, and no two heads always "
    "together") {
  HeadEffects effects(3, 5, 1);
  REQUIRE(effects.n_runs() == 16);
  effects.begin_window();
  for (size_t a = 0; a < 15; ++a)
    for (size_t b = 0; b <= a; ++b) {
      int together = 0, up = 0;
      for (int64_t run = 0; run < 16; ++run) {
        const std::vector<float> factors = effects.factors_of_run(run);
        together += (factors[a] > 1.0F) == (factors[b] > 1.0F) ? 1 : -1;
        up += factors[a] > 1.0F ? 1 : 0;
      }
      CHECK(up == 8);
      CHECK(together == (a == b ? 16 : 0));
    }
}

TEST_CASE("the divergence from dense attention is that of the definition, at positions spread evenly") {
  constexpr int64_t kWindow = 3 * Divergence::kMostPositions, kVocab = 5;
  Divergence divergence(kWindow, kVocab);
  REQUIRE(divergence.n_positions() == Divergence::kMostPositions);
  std::vector<float> dense, other;
  for (int64_t i = 0; i < kWindow * kVocab; ++i) {
    dense.push_back(static_cast<float>(i * 37 % 101) / 20.0F - 2.0F);
    other.push_back(dense.back() + static_cast<float>(i * 53 % 89) / 40.0F);
  }
  double expected = 0.0;
  for (int64_t p = 2; p < kWindow; p += 3) {
    double sums[2] = {0.0, 0.0};
    for (int64_t v = 0; v < kVocab; ++v) {
      sums[0] += std::exp(static_cast<double>(dense[static_cast<size_t>(p * kVocab + v)]));
      sums[1] += std::exp(static_cast<double>(other[static_cast<size_t>(p * kVocab + v)]));
    }
    for (int64_t v = 0; v < kVocab; ++v) {
      const double d = static_cast<double>(dense[static_cast<size_t>(p * kVocab + v)]) - std::log(sums[0]),
                   o = static_cast<double>(other[static_cast<size_t>(p * kVocab + v)]) - std::log(sums[1]);
      expected += std::exp(d) * (d - o);
    }
  }
  for (const int64_t rows : {kWindow, int64_t{1000}}) {  // at once, or in parts that no stride fits
    double sum = 0.0;
    for (int64_t at = 0; at < kWindow; at += rows) {
      const int64_t n = std::min(rows, kWindow - at);
      divergence.keep(at, n, dense.data() + at * kVocab);
      CHECK(divergence.sum(at, n, dense.data() + at * kVocab) == Approx(0.0).margin(1e-3));
      sum += divergence.sum(at, n, other.data() + at * kVocab);
    }
    CHECK(sum == Approx(expected).epsilon(1e-5));
  }
  // A vocabulary that is large enough for several threads.
  constexpr int64_t kLarge = 70'000, kFew = 16;
  Divergence wide(kFew, kLarge);
  std::vector<float> even(static_cast<size_t>(kFew * kLarge)), one = even;
  for (int64_t p = 0; p < kFew; ++p) one[static_cast<size_t>(p * kLarge + p)] = static_cast<float>(p);
  wide.keep(0, kFew, even.data());
  double wide_expected = 0.0;  // log((n - 1 + exp(p)) / n) - p / n
  for (int64_t p = 0; p < kFew; ++p)
    wide_expected +=
        std::log1p(std::expm1(static_cast<double>(p)) / kLarge) - static_cast<double>(p) / kLarge;
  CHECK(wide.sum(0, kFew, one.data()) == Approx(wide_expected).epsilon(1e-3));
  CHECK(Divergence(100, kVocab).n_positions() == 100);
  CHECK(Divergence(65536, 152064).n_positions() * 152064 * 4 <= Divergence::kMostBytes);
}

// Checks that every element is closed in order, and returns how many there are.
int check_elements(const std::string& page) {
  std::vector<std::string> open;
  int n = 0;
  for (size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const size_t end = page.find('>', at);
    REQUIRE(end != std::string::npos);
    const std::string tag = page.substr(at + 1, end - at - 1);
    if (tag.starts_with("!DOCTYPE") || tag.starts_with("meta ") || tag.ends_with('/')) continue;
    const std::string name = tag.substr(0, tag.find_first_of(" \n"));
    if (name.starts_with('/')) {
      REQUIRE(!open.empty());
      CHECK(open.back() == name.substr(1));
      open.pop_back();
    } else {
      open.push_back(name);
      ++n;
    }
  }
  CHECK(open.empty());
  return n;
}

TEST_CASE("the page is whole, loads nothing, and has every rule's figures within reach of the keyboard") {
  TuneTable table = four_rules();
  TuneReport report;
  report.target = {{}, 1.01, 0};
  report.sentences = choose_rule(table, report.target);
  report.facts = {{"text", "a<b>&\"c\xff.txt"}};
  report.tables = {&table};
  const std::string page = html_page(report);
  CHECK(check_elements(page) > 50);
  for (const char* absent : {"http", "<script", "url(", "@import", "src=", "href="}) {
    INFO(absent);
    CHECK(page.find(absent) == std::string::npos);
  }
  CHECK_THAT(page, ContainsSubstring("a&lt;b&gt;&amp;&quot;c\xEF\xBF\xBD.txt"));
  CHECK_THAT(page, ContainsSubstring("prefers-color-scheme: dark"));
  for (const TuneRow& r : table.rows) {
    CHECK_THAT(page, ContainsSubstring("<th scope=\"row\">" + r.rule + "</th>"));
    if (!r.dense)
      CHECK_THAT(page, ContainsSubstring("tabindex=\"0\" role=\"img\" aria-label=\"" + r.rule + ": "));
  }
  CHECK_THAT(page, ContainsSubstring("10 of 10 look-ups, recommended"));
}

TEST_CASE("points of the trade-off lie within the plot, more loss higher and more blocks further right") {
  TuneTable table = four_rules();
  table.rows.push_back(row("nz_ratio=0.01", 0.013, 300.0, 5.0));
  table.rows.push_back(row("threshold=0.0001", 1.0, 0.98));
  const TradeOffPlot plot = plot_trade_off(table, {0.1, 1.01, 0});
  REQUIRE(plot.curves.size() == 2);
  REQUIRE(plot.x_limit.has_value());
  REQUIRE(plot.y_limit.has_value());
  for (const TradeOffPlot::Curve& curve : plot.curves)
    for (size_t i = 0; i < curve.points.size(); ++i) {
      const TradeOffPlot::Point& p = curve.points[i];
      INFO(p.row->rule);
      CHECK((p.x >= plot.left && p.x <= plot.right && p.high >= plot.top - 1e-6 &&
             p.low <= plot.bottom + 1e-6));
      CHECK((p.high <= p.y && p.y <= p.low));
      CHECK((p.y < *plot.y_limit) == (p.row->ratio > 1.01));
      if (i > 0) CHECK((curve.points[i - 1].x < p.x && curve.points[i - 1].y < p.y));
    }
  const Canvas canvas = draw_trade_offs({plot, plot});
  CHECK(canvas.width() == 960);
  CHECK(canvas.height() == 1256);
}

}  // namespace
}  // namespace seer::cli
