// The options that choose the sparse rules of prompts and of decoded tokens.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/args.h"

namespace seer::cli {

struct ModelOptions;

// --sparse and --sparse-decode as options of a single rule.
struct SparseOptions {
  std::optional<SparseRule> prompt;
  std::optional<SparseDecodeRule> decode;

  void add_to(Args& args);
  // Refuses a sparse rule if no gates were given, before anything is loaded. Throws Error{kUsage}.
  void require_gates(const ModelOptions& options) const;
  // Refuses a rule that the loaded model cannot run under. Throws Error{kUsage}.
  void check(const ModelInfo& model) const;
};

// Add the rules of a list, separated by commas, that are not there yet. Throw Error{kUsage} for anything
// else.
void append_rules(std::vector<SparseRule>& rules, const std::string& list);
void append_rules(std::vector<SparseDecodeRule>& rules, const std::string& list);

// --sparse and --sparse-decode as options of lists of rules, for bench, perplexity and tune.
struct SparseLists {
  std::vector<SparseRule> prompt;
  std::vector<SparseDecodeRule> decode;

  void add_to(Args& args);
  void require_gates(const ModelOptions& options) const;
  void check(const ModelInfo& model) const;
  // Return the rules to run. An empty list stands for the dense rule and, if there are gates, their own rule.
  std::vector<SparseRule> prompt_rules(const ModelInfo& model) const;
  std::vector<SparseDecodeRule> decode_rules(const ModelInfo& model) const;
};

void require_gates(const std::optional<SparseRule>& rule, const ModelOptions& options);
void require_gates(const std::optional<SparseDecodeRule>& rule, const ModelOptions& options);

// Return the rule under which a request runs: `rule`, or if it is absent the gates' own, or dense without
// gates.
SparseRule effective_rule(const std::optional<SparseRule>& rule, const ModelInfo& model);
SparseDecodeRule effective_rule(const std::optional<SparseDecodeRule>& rule, const ModelInfo& model);

bool is_dense(const SparseRule& rule);
bool is_dense(const SparseDecodeRule& rule);

// Returns the rules of prompts and of decodes in few words: "dense", "budget=1024", "threshold=0.01", or
// "threshold=0.01 + budget=1024".
std::string both_rules(const SparseRule& prompt, const SparseDecodeRule& decode);

// Returns ", decode density 12.3% (budget=1024)", or an empty text under the dense rule.
std::string decode_density(const RequestStats& stats, const SparseDecodeRule& rule);

}  // namespace seer::cli
