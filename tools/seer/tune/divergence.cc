#include "tools/seer/tune/divergence.h"

#include <algorithm>
#include <cmath>

namespace seer::cli {
namespace {

double log_of_sum(const float* logits, int64_t n) {
  const float largest = *std::max_element(logits, logits + n);
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(std::exp(logits[i] - largest));
  return static_cast<double>(largest) + std::log(sum);
}

}  // namespace

Divergence::Divergence(int64_t window, int64_t n_vocab) : window_(window), n_vocab_(n_vocab) {
  const int64_t row_bytes = n_vocab * static_cast<int64_t>(sizeof(float));
  const int64_t most = std::clamp<int64_t>(kMostBytes / row_bytes, 1, kMostPositions);
  stride_ = (window + most - 1) / most;
  kept_.resize(static_cast<size_t>(n_positions() * n_vocab));
}

// Calls visit(i, row) for each row at the i-th position that is looked at. Of every stride_ positions, the
// last one is looked at.
template <class Visit>
void Divergence::each(int64_t position, int64_t n_rows, const Visit& visit) const {
  for (int64_t row = 0; row < n_rows; ++row)
    if (const int64_t n = position + row + 1; n % stride_ == 0) visit(n / stride_ - 1, row);
}

void Divergence::keep(int64_t position, int64_t n_rows, const float* logits) {
  each(position, n_rows, [&](int64_t i, int64_t row) {
    const float* const from = logits + row * n_vocab_;
    const auto total = static_cast<float>(log_of_sum(from, n_vocab_));
    std::transform(from, from + n_vocab_, kept_.begin() + i * n_vocab_,
                   [&](float logit) { return logit - total; });
  });
}

double Divergence::sum(int64_t position, int64_t n_rows, const float* logits) const {
  double sum = 0.0;
  each(position, n_rows, [&](int64_t i, int64_t row) {
    const float *const found = logits + row * n_vocab_, *const dense = kept_.data() + i * n_vocab_;
    const auto total = static_cast<float>(log_of_sum(found, n_vocab_));
    double divergence = 0.0;
    for (int64_t v = 0; v < n_vocab_; ++v)
      divergence += static_cast<double>(std::exp(dense[v]) * (dense[v] - (found[v] - total)));
    sum += divergence;
  });
  return sum;
}

}  // namespace seer::cli
