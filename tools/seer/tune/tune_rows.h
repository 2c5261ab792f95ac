// What seer tune finds out about rules, and which of them it recommends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace seer::cli {

// The figures of one rule.
struct TuneRow {
  std::string rule, family;  // "threshold=0.01", "threshold"
  bool dense = false;
  bool may_be_chosen = false;  // not dense and, if it is to be written, one that config.json can express
  double density = 1.0;        // of prompts, or of decoded tokens
  double perplexity = 0.0, perplexity_error = 0.0;
  double ratio = 1.0, ratio_error = 0.0;  // of the perplexity to that under the dense rule
  int64_t n_windows = 0;
  int64_t n_found = 0, n_look_ups = 0;
  double prefill_seconds = 0.0;    // of one prompt as long as a window, on average
  double tokens_per_second = 0.0;  // of decoding; 0 if nothing was decoded
  bool chosen = false;
};

// The rules of one kind of gates. The dense rule is the first row.
struct TuneTable {
  bool decodes = false;
  std::vector<TuneRow> rows;

  const char* purpose() const { return decodes ? "decoding" : "prompts"; }
  // Returns the row of the recommended rule, or null.
  const TuneRow* chosen() const;
};

// What a rule must keep to. At least one of the first two is set.
struct TuneTarget {
  std::optional<double> density, ppl_ratio;  // at most
  int64_t lost_look_ups = 0;                 // how many fewer a rule may find than dense attention does

  std::string to_string() const;  // "--target-density 0.1, --max-ppl-ratio 1.01"
  bool met_by(const TuneRow& row, const TuneRow& dense) const;
};

// Marks the rule that meets the target and costs least: if there is a limit of the ratio, the one with the
// lowest density, else the one with the lowest ratio. Returns sentences for people, which name the rule and
// its figures and say which of them are uncertain. Throws Error{kUsage} if no rule meets the target; its
// message names the nearest one.
std::vector<std::string> choose_rule(TuneTable& table, const TuneTarget& target);

// Returns "1.0098 ± 0.0012".
std::string ratio_text(const TuneRow& row);

}  // namespace seer::cli
