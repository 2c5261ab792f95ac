#include "models/distill/held_out.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace seer {
namespace {

// A decode gate has a row for each token of half a window, and a row of 1000 blocks took 0.12 ms on a busy
// core. Among so many rows, neighbours differ little.
constexpr int64_t kMostRows = 1024;

}  // namespace

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
  const int64_t stride = std::max<int64_t>(1, rows.n / kMostRows);
  for (int64_t head = 0; head < scores.dim(0); ++head)
    for (int64_t row = 0; row < rows.n; row += stride) {
      const int64_t n = std::min(n_blocks, rows.visible(row)), at = (head * rows.n + row) * n_blocks;
      if (n > 0) add_row(scores_.data() + at, truth_.data() + at, n);
    }
}

std::vector<double> HeldOutPoints::counts() const {
  std::vector<double> counts;
  for (const RulePoint& p : points_)
    counts.insert(counts.end(), {p.kept, p.visible, p.covered, p.possible, p.n_rows});
  return counts;
}

void HeldOutPoints::add_counts(std::span<const double> counts) {
  size_t i = 0;
  for (RulePoint& p : points_)
    for (double* count : {&p.kept, &p.visible, &p.covered, &p.possible, &p.n_rows}) *count += counts[i++];
}

void HeldOutPoints::add_row(float* scores, const float* truth, int64_t n) {
  const float top = *std::max_element(scores, scores + n);
  double total = 0.0;
  for (int64_t b = 0; b < n; ++b) total += scores[b] = std::exp(scores[b] - top);
  for (int64_t b = 0; b < n; ++b) scores[b] = static_cast<float>(scores[b] / total);
  best_truth_.assign(truth, truth + n);
  std::sort(best_truth_.begin(), best_truth_.end(), std::greater<>());
  most_of_.assign(1, 0.0);
  for (const float x : best_truth_) most_of_.push_back(most_of_.back() + x);

  order_.resize(static_cast<size_t>(n));
  std::iota(order_.begin(), order_.end(), 0);
  const auto better = [&](int32_t a, int32_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  // Shares become smaller from point to point, so the best blocks of one are among those of the one before.
  auto end = order_.end();
  for (RulePoint& point : points_) {
    if (point.share) {
      const auto best =
          order_.begin() + std::max<int64_t>(1, static_cast<int64_t>(point.value * static_cast<double>(n)));
      std::nth_element(order_.begin(), best, end, better);
      end = best;
    }
    size_t n_kept = 0;
    for (auto at = order_.begin(); at != end; ++at) {
      if (!point.share && scores[*at] <= static_cast<float>(point.value)) continue;
      ++n_kept;
      point.covered += truth[*at];
    }
    point.kept += static_cast<double>(n_kept);
    point.possible += most_of_[n_kept];
    point.visible += static_cast<double>(n);
    point.n_rows += 1.0;
  }
}

}  // namespace seer
