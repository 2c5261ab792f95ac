// The rules of one kind of gates, tried on windows and look-ups.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tools/seer/sparse_options.h"
#include "tools/seer/tune/gate_rule_file.h"
#include "tools/seer/tune/look_ups.h"
#include "tools/seer/tune/tune_rows.h"
#include "tools/seer/window_losses.h"

namespace seer::cli {

// Returns the rules to try, dense first: those of `given`, or a grid. The grid of decoding has the budgets
// from one block of the gates to half of a window. `by_head` adds thresholds that differ from head to head to
// the grid.
std::vector<RulePair> prompt_grid(const std::vector<SparseRule>& given, bool by_head);
std::vector<RulePair> decode_grid(const std::vector<SparseDecodeRule>& given, int64_t gate_block,
                                  int64_t window);

class RuleTrial {
 public:
  RuleTrial(bool decodes, const std::vector<RulePair>& rules);

  bool decodes() const { return decodes_; }
  // Gives the rules head_threshold=T the factors [n_layers, n_heads]. Call it before the first window.
  void set_head_factors(const std::vector<float>& factors, int64_t n_heads);
  const char* purpose() const { return decodes_ ? "decoding" : "prompts"; }
  int64_t n_windows() const { return totals_.front().n_windows; }
  int64_t n_look_ups() const { return n_look_ups_; }

  // Each of these tries every rule, on one more window or look-up. The figures of all rules change together,
  // so they stay comparable after an interrupt.
  void run_window(WindowLosses& windows, StatusLine& line);
  void run_look_up(const LookUp& look_up, Session& session, StatusLine& line);

  // Returns the figures. There must have been a window. If `only_written` is true, rules that config.json
  // cannot express may not be chosen.
  TuneTable table(int64_t decode_tokens, bool only_written) const;
  // Returns the members of config.json that express a rule of the table.
  JsonMembers members(const TuneTable& table, const TuneRow& row) const;

 private:
  JsonMembers members_of(const RulePair& rule) const;

  bool decodes_;
  int64_t n_heads_ = 0;  // of a layer; 0: rules have no factors but the gates'
  std::vector<RuleTotals> totals_;
  // How many look-ups were found, for each rule.
  std::vector<int64_t> n_found_;
  std::vector<double> prefill_seconds_;
  int64_t n_look_ups_ = 0;
};

}  // namespace seer::cli
