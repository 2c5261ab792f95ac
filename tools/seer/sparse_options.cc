#include "tools/seer/sparse_options.h"

#include <algorithm>

#include "tools/seer/format.h"
#include "tools/seer/model_options.h"

namespace seer::cli {
namespace {

constexpr const char* kPromptRules = "dense, threshold=T, head_threshold=T, nz_ratio=R or nz_ratio_row=R";
constexpr const char* kDecodeRules = "dense, budget=N (tokens), threshold=T or ratio=R";

template <class Rule>
void append_parsed(std::vector<Rule>& rules, const std::string& list) {
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const Rule rule = Rule::parse(list.substr(begin, end - begin));
    if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(rule);
    begin = end + 1;
  }
}

template <class Rule>
void require_gates_for(const char* option, const std::optional<Rule>& rule, const char* gates,
                       const ModelOptions& options) {
  if (!rule || is_dense(*rule) || !options.gates_dir.empty() || !options.random_config.empty()) return;
  throw Error(ErrorKind::kUsage, std::string(option) + " " + rule->to_string() + " needs " + gates +
                                     ": give -g DIR or set SEER_GATES");
}

template <class Rule, class Gates>
std::vector<Rule> rules_to_run(const std::vector<Rule>& rules, const std::optional<Gates>& gates) {
  if (!rules.empty()) return rules;
  std::vector<Rule> standard(1);
  if (gates && gates->default_rule != standard[0]) standard.push_back(gates->default_rule);
  return standard;
}

}  // namespace

void SparseOptions::add_to(Args& args) {
  args.value("--sparse", "RULE", "the gates' own rule, dense without gates",
             std::string("blocks the prefill attends to: ") + kPromptRules,
             [this](const std::string& value) { prompt = SparseRule::parse(value); });
  args.value("--sparse-decode", "RULE", "the decode gates' own rule, dense without them",
             std::string("blocks that decoded tokens attend to: ") + kDecodeRules,
             [this](const std::string& value) { decode = SparseDecodeRule::parse(value); });
}

void SparseOptions::require_gates(const ModelOptions& options) const {
  cli::require_gates(prompt, options);
  cli::require_gates(decode, options);
}

void SparseOptions::check(const ModelInfo& model) const {
  if (prompt) check_rule(*prompt, model);
  if (decode) check_rule(*decode, model);
}

void append_rules(std::vector<SparseRule>& rules, const std::string& list) { append_parsed(rules, list); }
void append_rules(std::vector<SparseDecodeRule>& rules, const std::string& list) {
  append_parsed(rules, list);
}

void SparseLists::add_to(Args& args) {
  args.values("--sparse", "RULES", "dense, and the gates' own rule if there are gates",
              "rules to run, separated by commas or given one by one: dense, threshold=T, "
              "head_threshold=T, nz_ratio=R, nz_ratio_row=R",
              [this](const std::string& value) { append_rules(prompt, value); });
  args.values("--sparse-decode", "RULES", "dense, and the decode gates' own rule if there are decode gates",
              "rules for decoded tokens to run, separated by commas or given one by one: dense, budget=N "
              "(tokens), threshold=T, ratio=R",
              [this](const std::string& value) { append_rules(decode, value); });
}

void SparseLists::require_gates(const ModelOptions& options) const {
  for (const SparseRule& rule : prompt) cli::require_gates(std::optional(rule), options);
  for (const SparseDecodeRule& rule : decode) cli::require_gates(std::optional(rule), options);
}

void SparseLists::check(const ModelInfo& model) const {
  for (const SparseRule& rule : prompt) check_rule(rule, model);
  for (const SparseDecodeRule& rule : decode) check_rule(rule, model);
}

std::vector<SparseRule> SparseLists::prompt_rules(const ModelInfo& model) const {
  return rules_to_run(prompt, model.gates);
}

std::vector<SparseDecodeRule> SparseLists::decode_rules(const ModelInfo& model) const {
  return rules_to_run(decode, model.decode_gates);
}

void require_gates(const std::optional<SparseRule>& rule, const ModelOptions& options) {
  require_gates_for("--sparse", rule, "gates", options);
}

void require_gates(const std::optional<SparseDecodeRule>& rule, const ModelOptions& options) {
  require_gates_for("--sparse-decode", rule, "gates for decoding", options);
}

SparseRule effective_rule(const std::optional<SparseRule>& rule, const ModelInfo& model) {
  if (rule) return *rule;
  return model.gates ? model.gates->default_rule : SparseRule{};
}

SparseDecodeRule effective_rule(const std::optional<SparseDecodeRule>& rule, const ModelInfo& model) {
  if (rule) return *rule;
  return model.decode_gates ? model.decode_gates->default_rule : SparseDecodeRule{};
}

bool is_dense(const SparseRule& rule) { return rule.method == SparseRule::Method::kDense; }
bool is_dense(const SparseDecodeRule& rule) { return rule.method == SparseDecodeRule::Method::kDense; }

std::string both_rules(const SparseRule& prompt, const SparseDecodeRule& decode) {
  if (is_dense(decode)) return prompt.to_string();
  return (is_dense(prompt) ? "" : prompt.to_string() + " + ") + decode.to_string();
}

std::string decode_density(const RequestStats& stats, const SparseDecodeRule& rule) {
  if (is_dense(rule)) return "";
  return format(", decode density %.1f%% (", 100.0 * stats.decode_density) + rule.to_string() + ")";
}

}  // namespace seer::cli
