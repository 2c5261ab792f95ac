// The losses of tokens, computed in double.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_backend.h"

namespace seer {
namespace {

double row_loss(const float* logits, int32_t target, int64_t n_vocab) {
  const double largest = *std::max_element(logits, logits + n_vocab);
  double sum = 0.0;
  for (int64_t i = 0; i < n_vocab; ++i) sum += std::exp(static_cast<double>(logits[i]) - largest);
  return largest + std::log(sum) - static_cast<double>(logits[target]);
}

}  // namespace

void CpuBackend::token_losses(std::span<double> losses, const Tensor& logits,
                              std::span<const int32_t> targets) {
  const int64_t n_vocab = logits.dim(1);
  assert(static_cast<int64_t>(losses.size()) == logits.dim(0) && targets.size() == losses.size());
  const auto* const values = static_cast<const float*>(logits.data);
  pool_.run(logits.dim(0), [&](int64_t row, int) {
    const auto r = static_cast<size_t>(row);
    losses[r] = row_loss(values + row * n_vocab, targets[r], n_vocab);
  });
}

}  // namespace seer
