#include "models/distill/row_weights.h"

#include <algorithm>

namespace seer {

std::vector<float> row_weights(const ScoredRows& rows, int64_t tokens_of_row,
                               std::span<const int64_t> answers) {
  std::vector<bool> answering(static_cast<size_t>(rows.n), false);
  for (const int64_t token : answers) {
    const int64_t at = token / tokens_of_row, i = rows.row_from(at);
    if (i < rows.n && rows.position(i) == at) answering[static_cast<size_t>(i)] = true;
  }
  const auto n = static_cast<double>(rows.n);
  const auto n_answering = static_cast<double>(std::count(answering.begin(), answering.end(), true));
  if (n_answering == 0.0 || n_answering >= kAnswersShare * n) return {};
  const auto of_answer = static_cast<float>(kAnswersShare * n / n_answering),
             of_other = static_cast<float>((1.0 - kAnswersShare) * n / (n - n_answering));
  std::vector<float> weights;
  weights.reserve(answering.size());
  for (const bool answers_here : answering) weights.push_back(answers_here ? of_answer : of_other);
  return weights;
}

}  // namespace seer
