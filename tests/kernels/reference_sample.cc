#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/kernels/reference.h"

namespace seer::testing::reference {

Draw draw(const float* logits, int64_t n_vocab, const CaseSampleRow& row) {
  std::vector<float> changed(logits, logits + n_vocab);
  for (const LogitChange& c : row.changes) {
    if (c.id < 0 || c.id >= n_vocab) continue;
    float& logit = changed[static_cast<size_t>(c.id)];
    logit = (logit > 0.0F ? logit / c.divide : logit * c.divide) - c.subtract;
    if (c.banned) logit = -std::numeric_limits<float>::infinity();
  }
  struct Token {
    int32_t id;
    double logit, p;
  };
  std::vector<Token> tokens;
  for (int64_t i = 0; i < n_vocab; ++i) {
    const double logit = changed[static_cast<size_t>(i)];
    if (std::isinf(logit) && logit > 0) return {};
    if (std::isfinite(logit)) tokens.push_back({static_cast<int32_t>(i), logit, 1.0});
  }
  if (tokens.empty()) return {};
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const Token& a, const Token& b) { return a.logit > b.logit; });
  if (row.temperature == 0.0) return {{tokens.front().id}, {1.0}};

  if (row.top_k > 0 && row.top_k < static_cast<int64_t>(tokens.size()))
    tokens.resize(static_cast<size_t>(row.top_k));
  double total = 0.0;
  for (Token& t : tokens) total += t.p = std::exp((t.logit - tokens.front().logit) / row.temperature);
  if (row.top_p < 1.0) {
    double mass = 0.0;
    size_t n = 0;
    while (n < tokens.size() && mass < row.top_p * total) mass += tokens[n++].p;
    tokens.resize(n);
  }
  std::erase_if(tokens, [&](const Token& t) { return t.p < row.min_p; });
  std::sort(tokens.begin(), tokens.end(), [](const Token& a, const Token& b) { return a.id < b.id; });
  total = 0.0;
  for (const Token& t : tokens) total += t.p;
  Draw out;
  double sum = 0.0;
  for (const Token& t : tokens) {
    out.ids.push_back(t.id);
    out.sums.push_back((sum += t.p) / total);
  }
  return out;
}

std::string sample_mismatch(const SampleCase& c, const std::vector<int32_t>& actual, double tolerance) {
  if (actual.size() != c.rows.size()) return std::to_string(actual.size()) + " ids";
  const double margin = c.exact ? 0.0 : tolerance;
  for (size_t r = 0; r < c.rows.size(); ++r) {
    const Draw expected = draw(c.logits.at(static_cast<int64_t>(r)), c.logits.dim(1), c.rows[r]);
    const auto found = std::lower_bound(expected.ids.begin(), expected.ids.end(), actual[r]);
    const std::string what = "row " + std::to_string(r) + " gave " + std::to_string(actual[r]);
    if (expected.ids.empty()) {
      if (actual[r] != -1) return what + ", which has nothing to give";
      continue;
    }
    if (found == expected.ids.end() || *found != actual[r]) return what + ", which is not kept";
    const auto i = static_cast<size_t>(found - expected.ids.begin());
    const double u = c.rows[r].uniform, from = i == 0 ? 0.0 : expected.sums[i - 1], to = expected.sums[i];
    if (u < from - margin || (u >= to + margin && i + 1 < expected.ids.size()))
      return what + ", whose share is " + std::to_string(from) + " to " + std::to_string(to) +
             ", for a draw of " + std::to_string(u);
  }
  return "";
}

}  // namespace seer::testing::reference
