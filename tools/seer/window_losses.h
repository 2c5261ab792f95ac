// The losses of a text's windows under sparse rules, for the commands that compare rules: perplexity and
// tune.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/args.h"
#include "tools/seer/input.h"
#include "tools/seer/status_line.h"

namespace seer::cli {

struct RulePair {
  SparseRule prompt;
  SparseDecodeRule decode;
  std::vector<float> head_factors = {};  // of the prompt's rule, in place of those of the gates

  bool dense() const;
  std::string to_string() const;
};

// What a rule has shown on the windows so far.
struct RuleTotals {
  RulePair rule;
  double loss = 0.0;                                                  // sum of the windows' mean losses
  double density = 0.0, decode_density = 0.0;                         // sums over windows
  double seconds = 0.0, prefill_seconds = 0.0, decode_seconds = 0.0;  // without the time that the losses take
  int64_t n_windows = 0;
  std::vector<double> losses;  // of every token predicted so far

  double perplexity() const;
};

// Returns the standard error of the perplexity, as if the tokens were independent.
double perplexity_error(const RuleTotals& totals);
// Returns the standard error of the ratio of the two perplexities. Both rules see the same tokens, so the
// spread is that of the differences of losses, as if these were independent.
double ratio_error(const RuleTotals& totals, const RuleTotals& dense);

// The text, and how it is cut into windows.
struct WindowOptions {
  PromptOptions text;
  int64_t window = 0;         // tokens; 0: the context, or the text if it is shorter
  int64_t max_windows = 0;    // 0: all
  int64_t decode_tokens = 0;  // the last ones of each window, to be decoded; 0: none

  void add_text_to(Args& args);
  void add_windows_to(Args& args);
};

// Returns the text's tokens, without BOS. Throws Error{kUsage} for ids that are not in the vocabulary.
std::vector<int32_t> tokens_of(const Prompt& text, const Engine& engine);

class WindowLosses {
 public:
  // A window has window() + 1 tokens, of which the last window() are predicted. Throws Error{kUsage} if the
  // text, which `source` names, is shorter than that, or if decode_tokens leave nothing to the prompt.
  WindowLosses(std::shared_ptr<Engine> engine, std::vector<int32_t> tokens, const WindowOptions& options,
               const std::string& source);

  int64_t window() const { return window_; }
  int64_t n_windows() const { return n_windows_; }
  const std::vector<int32_t>& tokens() const { return tokens_; }
  // Returns the tokens of a window that come before a predicted one.
  std::span<const int32_t> tokens_of_window(int64_t index) const {
    return std::span(tokens_).subspan(static_cast<size_t>(index * (window_ + 1)),
                                      static_cast<size_t>(window_));
  }
  // Returns the session in which windows run. A second session would need pages of its own.
  Session& session() { return *session_; }

  // Runs every rule on the next window that `totals` does not have yet, with progress on `line`. If `decodes`
  // is true, the last decode_tokens of the window are decoded one by one, and only they count; else all
  // tokens are the prompt. Throws Error{kCancelled} after an interrupt. The totals of all rules change
  // together, so they stay comparable then.
  void run_window(std::vector<RuleTotals>& totals, bool decodes, StatusLine& line);

 private:
  void evaluate(RuleTotals& totals, int64_t n_counted, StatusLine& line);

  std::shared_ptr<Engine> engine_;
  std::unique_ptr<Session> session_;
  std::vector<int32_t> tokens_;
  int64_t window_ = 0, n_windows_ = 0, decode_tokens_ = 0;
};

}  // namespace seer::cli
