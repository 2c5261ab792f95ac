#include "models/distill/held_out.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace seer {

HeldOutPoints::HeldOutPoints() {
  for (const auto& [text, value] :
       {std::pair{"0.001", 1e-3}, {"0.002", 2e-3}, {"0.005", 5e-3}, {"0.01", 1e-2}, {"0.02", 2e-2}})
    points_.push_back({std::string("threshold=") + text, value, false});
  for (const auto& [text, value] : {std::pair{"0.5", 0.5}, {"0.2", 0.2}, {"0.1", 0.1}})
    points_.push_back({std::string("best ") + text, value, true});
}

void HeldOutPoints::add(Backend* backend, const Tensor& scores, const Tensor& truth, const ScoredRows& rows) {
  scores_.resize(static_cast<size_t>(scores.numel()));
  truth_.resize(scores_.size());
  backend->read(scores_.data(), scores);
  backend->read(truth_.data(), truth);
  const int64_t n_blocks = scores.dim(2);
  for (int64_t row = 0; row < scores.dim(0) * rows.n; ++row) {
    const int64_t n = std::min(n_blocks, rows.visible(row % rows.n));
    if (n > 0) add_row(scores_.data() + row * n_blocks, truth_.data() + row * n_blocks, n);
  }
}

std::vector<double> HeldOutPoints::counts() const {
  std::vector<double> counts;
  for (const RulePoint& p : points_) counts.insert(counts.end(), {p.kept, p.visible, p.covered, p.n_rows});
  return counts;
}

void HeldOutPoints::add_counts(std::span<const double> counts) {
  size_t i = 0;
  for (RulePoint& p : points_)
    for (double* count : {&p.kept, &p.visible, &p.covered, &p.n_rows}) *count += counts[i++];
}

void HeldOutPoints::add_row(float* scores, const float* truth, int64_t n) {
  const float top = *std::max_element(scores, scores + n);
  double total = 0.0;
  for (int64_t b = 0; b < n; ++b) total += scores[b] = std::exp(scores[b] - top);
  for (int64_t b = 0; b < n; ++b) scores[b] = static_cast<float>(scores[b] / total);
  order_.resize(static_cast<size_t>(n));
  std::iota(order_.begin(), order_.end(), 0);
  std::sort(order_.begin(), order_.end(),
            [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  for (RulePoint& point : points_) {
    const int64_t best = point.share ? std::max<int64_t>(1, static_cast<int64_t>(point.value * n)) : n;
    for (int64_t i = 0; i < best; ++i) {
      const int32_t b = order_[static_cast<size_t>(i)];
      if (!point.share && scores[b] <= static_cast<float>(point.value)) break;
      point.kept += 1.0;
      point.covered += truth[b];
    }
    point.visible += static_cast<double>(n);
    point.n_rows += 1.0;
  }
}

}  // namespace seer
