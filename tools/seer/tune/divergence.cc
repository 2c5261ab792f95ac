#include "tools/seer/tune/divergence.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <numeric>
#include <thread>

namespace seer::cli {
namespace {

double log_of_sum(const float* logits, int64_t n) {
  const float largest = *std::max_element(logits, logits + n);
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(std::exp(logits[i] - largest));
  return static_cast<double>(largest) + std::log(sum);
}

// Calls visit(i) for each i below n, on several threads if there is much to do. Each position has an
// exponential for every token of the vocabulary.
template <class Visit>
void on_threads(int64_t n, int64_t work_of_each, const Visit& visit) {
  constexpr int64_t kWork = 1 << 18;  // exponentials; for fewer, it does not pay to start a thread
  constexpr int64_t kMostThreads = 16;
  const int64_t cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  const int64_t n_threads = std::clamp<int64_t>(n * work_of_each / kWork, 1, std::min(cores, kMostThreads));
  const auto share = [&](int64_t thread) {
    for (int64_t i = thread; i < n; i += n_threads) visit(i);
  };
  std::vector<std::future<void>> others;  // whose destructors wait
  for (int64_t t = 1; t < n_threads; ++t) others.push_back(std::async(std::launch::async, share, t));
  share(0);
  for (std::future<void>& other : others) other.get();
}

}  // namespace

Divergence::Divergence(int64_t window, int64_t n_vocab) : window_(window), n_vocab_(n_vocab) {
  const int64_t row_bytes = n_vocab * static_cast<int64_t>(sizeof(float));
  const int64_t most = std::clamp<int64_t>(kMostBytes / row_bytes, 1, kMostPositions);
  stride_ = (window + most - 1) / most;
  kept_.resize(static_cast<size_t>(n_positions() * n_vocab));
}

// Calls visit(i, row, n) for each row at the i-th position that is looked at; it is the n-th of these rows.
// The last one of every stride_ positions is looked at.
template <class Visit>
int64_t Divergence::each(int64_t position, int64_t n_rows, const Visit& visit) const {
  const int64_t first = position / stride_, n = (position + n_rows) / stride_ - first;
  on_threads(n, n_vocab_, [&](int64_t k) { visit(first + k, (first + k + 1) * stride_ - 1 - position, k); });
  return n;
}

void Divergence::keep(int64_t position, int64_t n_rows, const float* logits) {
  each(position, n_rows, [&](int64_t i, int64_t row, int64_t) {
    const float* const from = logits + row * n_vocab_;
    const auto total = static_cast<float>(log_of_sum(from, n_vocab_));
    std::transform(from, from + n_vocab_, kept_.begin() + i * n_vocab_,
                   [&](float logit) { return logit - total; });
  });
}

double Divergence::sum(int64_t position, int64_t n_rows, const float* logits) const {
  std::vector<double> sums(static_cast<size_t>(n_rows));
  const int64_t n = each(position, n_rows, [&](int64_t i, int64_t row, int64_t k) {
    const float *const found = logits + row * n_vocab_, *const dense = kept_.data() + i * n_vocab_;
    const auto total = static_cast<float>(log_of_sum(found, n_vocab_));
    double divergence = 0.0;
    for (int64_t v = 0; v < n_vocab_; ++v)
      divergence += static_cast<double>(std::exp(dense[v]) * (dense[v] - (found[v] - total)));
    sums[static_cast<size_t>(k)] = divergence;
  });
  return std::accumulate(sums.begin(), sums.begin() + n, 0.0);  // in order, whatever the threads
}

}  // namespace seer::cli
