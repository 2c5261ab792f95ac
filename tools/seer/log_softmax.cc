#include "tools/seer/log_softmax.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <thread>
#include <vector>

#include "seer/engine.h"

namespace seer::cli {
namespace {

// One exp takes some 5 ns. For less than a million of them a thread costs more than it saves.
constexpr int64_t kElementsPerThread = 1 << 20;
constexpr int64_t kMaxSoftmaxThreads = 8;

double row_loss(const float* logits, int32_t target, int64_t n_vocab) {
  const double largest = *std::max_element(logits, logits + n_vocab);
  double sum = 0.0;
  for (int64_t i = 0; i < n_vocab; ++i) sum += std::exp(static_cast<double>(logits[i]) - largest);
  return largest + std::log(sum) - static_cast<double>(logits[target]);
}

double rows_loss(const float* logits, const int32_t* targets, int64_t n_rows, int64_t n_vocab,
                 double* losses) {
  double sum = 0.0;
  for (int64_t row = 0; row < n_rows; ++row) {
    const double loss = row_loss(logits + row * n_vocab, targets[row], n_vocab);
    if (losses != nullptr) losses[row] = loss;
    sum += loss;
  }
  return sum;
}

}  // namespace

double negative_log_likelihood(const float* logits, const int32_t* targets, int64_t n_rows, int64_t n_vocab,
                               double* losses) {
  const int64_t cores = usable_cores();
  const int64_t wanted = n_rows * n_vocab / kElementsPerThread;
  const int64_t n_threads =
      std::clamp<int64_t>(wanted, 1, std::min({cores, kMaxSoftmaxThreads, std::max<int64_t>(n_rows, 1)}));
  std::vector<double> sums(static_cast<size_t>(n_threads));
  const auto work = [&](int64_t thread) {
    const int64_t begin = n_rows * thread / n_threads;
    const int64_t end = n_rows * (thread + 1) / n_threads;
    sums[static_cast<size_t>(thread)] = rows_loss(logits + begin * n_vocab, targets + begin, end - begin,
                                                  n_vocab, losses != nullptr ? losses + begin : nullptr);
  };
  std::vector<std::thread> threads;
  for (int64_t i = 1; i < n_threads; ++i) threads.emplace_back(work, i);
  work(0);
  for (std::thread& thread : threads) thread.join();
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace seer::cli
