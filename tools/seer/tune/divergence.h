// How far the model's predictions under a rule are from those of dense attention: the Kullback-Leibler
// divergence KL(dense || rule) of a token's distribution. It uses every token of the vocabulary and not only
// the one that the text has. So it tells two rules apart on a small part of the text that would be needed to
// tell them apart by their losses.
#pragma once

#include <cstdint>
#include <vector>

namespace seer::cli {

class Divergence {
 public:
  // It looks at positions of a window that are spread evenly: at most kMostPositions, and fewer if the
  // vocabulary is so large that they would take more than kMostBytes.
  static constexpr int64_t kMostPositions = 2048, kMostBytes = int64_t{256} << 20;
  Divergence(int64_t window, int64_t n_vocab);

  int64_t n_positions() const { return window_ / stride_; }
  // Keeps what dense attention predicts at n_rows positions from `position` on.
  void keep(int64_t position, int64_t n_rows, const float* logits);
  // Returns the sum of the divergences at n_rows positions from `position` on, all of which were kept.
  double sum(int64_t position, int64_t n_rows, const float* logits) const;

 private:
  template <class Visit>
  int64_t each(int64_t position, int64_t n_rows, const Visit& visit) const;

  int64_t window_, n_vocab_, stride_;
  std::vector<float> kept_;  // [n_positions, n_vocab]: logarithms of probabilities
};

}  // namespace seer::cli
