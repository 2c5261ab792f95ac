#include "tools/seer/tune/tune_rows.h"

#include <algorithm>
#include <cmath>

#include "seer/error.h"
#include "tools/seer/format.h"

namespace seer::cli {
namespace {

// 95% of a normal distribution lie within two standard errors.
constexpr double kErrors = 2.0;

std::string rule_figures(const TuneRow& row) {
  return row.rule + format(" keeps %.1f%% of the blocks at a perplexity ratio of ", 100.0 * row.density) +
         ratio_text(row) +
         (row.n_look_ups > 0 ? format(" and finds %lld of %lld look-ups", static_cast<long long>(row.n_found),
                                      static_cast<long long>(row.n_look_ups))
                             : "");
}

int64_t lost(const TuneRow& row, const TuneRow& dense) { return dense.n_found - row.n_found; }

// Returns how far a rule misses the target: the sum of the shares by which it misses each part of it.
double distance(const TuneRow& row, const TuneRow& dense, const TuneTarget& target) {
  double sum = 0.0;
  if (target.density) sum += std::max(0.0, row.density / *target.density - 1.0);
  if (target.ppl_ratio) sum += std::max(0.0, row.ratio / *target.ppl_ratio - 1.0);
  const int64_t n_over = std::max<int64_t>(0, lost(row, dense) - target.lost_look_ups);
  return sum + static_cast<double>(n_over) / static_cast<double>(std::max<int64_t>(row.n_look_ups, 1));
}

double cost(const TuneRow& row, const TuneTarget& target) {
  return target.ppl_ratio ? row.density : row.ratio;
}

[[noreturn]] void refuse(const TuneTable& table, const TuneTarget& target) {
  const TuneRow& dense = table.rows.front();
  const TuneRow* nearest = nullptr;
  for (const TuneRow& row : table.rows)
    if (row.may_be_chosen &&
        (nearest == nullptr || distance(row, dense, target) < distance(*nearest, dense, target)))
      nearest = &row;
  const std::string whole = std::string("no rule for ") + table.purpose() + " meets " + target.to_string();
  if (nearest == nullptr)
    throw Error(ErrorKind::kUsage, whole + ": none of the rules that were measured can be chosen");
  const int64_t n_lost = lost(*nearest, dense);
  throw Error(ErrorKind::kUsage, whole + ". The nearest: " + rule_figures(*nearest) +
                                     (n_lost > target.lost_look_ups
                                          ? format(", %lld fewer than dense attention (--max-lost-look-ups)",
                                                   static_cast<long long>(n_lost))
                                          : ""));
}

// Returns the rules that the windows do not rule out: with a limit of the ratio, those of lower density than
// the chosen rule that may meet it; without one, those that may lose no more than the chosen rule.
std::string rivals(const TuneTable& table, const TuneRow& chosen, const TuneTarget& target) {
  std::string list;
  for (const TuneRow& row : table.rows) {
    TuneRow best = row;
    best.ratio -=
        kErrors * (target.ppl_ratio ? row.ratio_error : std::hypot(row.ratio_error, chosen.ratio_error));
    const bool cheaper = target.ppl_ratio ? row.density < chosen.density : best.ratio <= chosen.ratio;
    if (&row != &chosen && row.may_be_chosen && cheaper && target.met_by(best, table.rows.front()))
      list += (list.empty() ? "" : ", ") + row.rule + format(" (%.1f%%)", 100.0 * row.density);
  }
  return list;
}

std::string doubts(const TuneTable& table, const TuneRow& chosen, const TuneTarget& target) {
  std::string text;
  const double highest = chosen.ratio + kErrors * chosen.ratio_error;
  if (target.ppl_ratio && highest > *target.ppl_ratio)
    text = format("Within two standard errors its ratio may be %.4f, beyond %g", highest, *target.ppl_ratio);
  const std::string others = rivals(table, chosen, target);
  if (!others.empty())
    text +=
        (text.empty() ? "Within" : "; within") + std::string(" two standard errors ") +
        (target.ppl_ratio ? "these may meet the limit at a lower density: " : "these may lose no more: ") +
        others;
  return text.empty() ? "" : text + ". More windows tell more";
}

}  // namespace

const TuneRow* TuneTable::chosen() const {
  const auto row = std::find_if(rows.begin(), rows.end(), [](const TuneRow& r) { return r.chosen; });
  return row == rows.end() ? nullptr : &*row;
}

std::string TuneTarget::to_string() const {
  std::string text = density ? format("--target-density %g", *density) : "";
  if (ppl_ratio) text += (text.empty() ? "" : ", ") + format("--max-ppl-ratio %g", *ppl_ratio);
  return text;
}

bool TuneTarget::met_by(const TuneRow& row, const TuneRow& dense) const {
  return (!density || row.density <= *density) && (!ppl_ratio || row.ratio <= *ppl_ratio) &&
         lost(row, dense) <= lost_look_ups;
}

std::vector<std::string> choose_rule(TuneTable& table, const TuneTarget& target) {
  const TuneRow& dense = table.rows.front();
  TuneRow* best = nullptr;
  for (TuneRow& row : table.rows)
    if (row.may_be_chosen && target.met_by(row, dense) &&
        (best == nullptr || cost(row, target) < cost(*best, target)))
      best = &row;
  if (best == nullptr) refuse(table, target);
  best->chosen = true;
  std::string text = std::string("recommended for ") + table.purpose() + " with " + target.to_string() +
                     ": " + rule_figures(*best);
  if (best->n_look_ups > 0) text += format(" (dense %lld)", static_cast<long long>(dense.n_found));
  text += format("; %lld %s", static_cast<long long>(best->n_windows),
                 best->n_windows == 1 ? "window" : "windows");
  std::vector<std::string> sentences = {text};
  const std::string uncertain = doubts(table, *best, target);
  if (!uncertain.empty()) sentences.push_back(uncertain);
  return sentences;
}

std::string ratio_text(const TuneRow& row) { return format("%.4f ± %.4f", row.ratio, row.ratio_error); }

}  // namespace seer::cli
