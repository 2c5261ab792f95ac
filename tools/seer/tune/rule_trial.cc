#include "tools/seer/tune/rule_trial.h"

#include <algorithm>
#include <utility>

namespace seer::cli {

std::vector<RulePair> prompt_grid(const std::vector<SparseRule>& given, bool by_head) {
  using Method = SparseRule::Method;
  std::vector<RulePair> rules = {{}};
  for (const SparseRule& rule : given)
    if (!is_dense(rule)) rules.push_back({rule, {}});
  if (!given.empty()) return rules;
  for (const Method method : {Method::kThreshold, Method::kHeadThreshold})
    for (const double threshold : {0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03})
      if (by_head || method == Method::kThreshold) rules.push_back({{method, threshold}, {}});
  for (const double ratio : {0.5, 0.3, 0.2, 0.1, 0.05}) rules.push_back({{Method::kNzRatio, ratio}, {}});
  return rules;
}

std::vector<RulePair> decode_grid(const std::vector<SparseDecodeRule>& given, int64_t gate_block,
                                  int64_t window) {
  using Method = SparseDecodeRule::Method;
  std::vector<RulePair> rules = {{}};
  for (const SparseDecodeRule& rule : given)
    if (!is_dense(rule)) rules.push_back({{}, rule});
  if (!given.empty()) return rules;
  for (const int64_t budget : {256, 512, 1024, 2048, 4096, 8192})
    if (budget >= gate_block && budget <= window / 2)
      rules.push_back({{}, {Method::kBudget, static_cast<double>(budget)}});
  for (const double threshold : {0.001, 0.002, 0.005, 0.01, 0.02})
    rules.push_back({{}, {Method::kThreshold, threshold}});
  for (const double ratio : {0.4, 0.2, 0.1, 0.05}) rules.push_back({{}, {Method::kRatio, ratio}});
  return rules;
}

RuleTrial::RuleTrial(bool decodes, const std::vector<RulePair>& rules)
    : decodes_(decodes), totals_(rules.size()), n_found_(rules.size()), prefill_seconds_(rules.size()) {
  for (size_t i = 0; i < rules.size(); ++i) totals_[i].rule = rules[i];
}

void RuleTrial::set_head_factors(const std::vector<float>& factors, int64_t n_heads) {
  n_heads_ = n_heads;
  for (RuleTotals& totals : totals_)
    if (totals.rule.prompt.method == SparseRule::Method::kHeadThreshold) totals.rule.head_factors = factors;
}

void RuleTrial::run_window(WindowLosses& windows, StatusLine& line) {
  windows.run_window(totals_, decodes_, line);
}

void RuleTrial::run_look_up(const LookUp& look_up, Session& session, StatusLine& line) {
  std::vector<LookUpResult> results;
  for (const RuleTotals& totals : totals_)
    results.push_back(ask(look_up, totals.rule, decodes_, session, line));
  for (size_t i = 0; i < results.size(); ++i) {
    n_found_[i] += results[i].found ? 1 : 0;
    prefill_seconds_[i] += results[i].prefill_seconds;
  }
  ++n_look_ups_;
}

TuneTable RuleTrial::table(int64_t decode_tokens, bool only_written) const {
  TuneTable table;
  table.decodes = decodes_;
  const RuleTotals& dense = totals_.front();
  for (size_t i = 0; i < totals_.size(); ++i) {
    const RuleTotals& totals = totals_[i];
    const auto n = static_cast<double>(totals.n_windows);
    TuneRow& row = table.rows.emplace_back();
    row.rule = totals.rule.to_string();
    row.family = row.rule.substr(0, row.rule.find('='));
    row.dense = totals.rule.dense();
    row.may_be_chosen = !row.dense && (!only_written || !members_of(totals.rule).empty());
    row.density = (decodes_ ? totals.decode_density : totals.density) / n;
    row.perplexity = totals.perplexity();
    row.perplexity_error = perplexity_error(totals);
    row.ratio = totals.perplexity() / dense.perplexity();
    row.ratio_error = ratio_error(totals, dense);
    row.n_windows = totals.n_windows;
    row.n_found = n_found_[i];
    row.n_look_ups = n_look_ups_;
    // A window's prefill computes the logits of all its tokens, which a prompt does not need.
    row.prefill_seconds =
        n_look_ups_ > 0 ? prefill_seconds_[i] / static_cast<double>(n_look_ups_) : totals.prefill_seconds / n;
    if (decodes_)
      row.tokens_per_second = n * static_cast<double>(decode_tokens) / std::max(totals.decode_seconds, 1e-9);
  }
  return table;
}

JsonMembers RuleTrial::members(const TuneTable& table, const TuneRow& row) const {
  return members_of(totals_.at(static_cast<size_t>(&row - table.rows.data())).rule);
}

JsonMembers RuleTrial::members_of(const RulePair& rule) const {
  if (decodes_) return config_members(rule.decode);
  JsonMembers members = config_members(rule.prompt);
  if (members.empty() || rule.head_factors.empty()) return members;
  for (auto& member : factor_members(rule.head_factors, n_heads_)) members.push_back(std::move(member));
  return members;
}

}  // namespace seer::cli
