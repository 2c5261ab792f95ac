// Finds out in which heads blocks matter most, and computes from that the factor of each head's threshold.
// The caller runs the model.
//
// Thresholds are best if one more dropped block would cost as much in every head: otherwise one head could
// drop a block and another keep one more, at less cost. So a head in which dropped blocks cost more than the
// mean gets a lower threshold, and one in which they cost less gets a higher one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace seer::cli {

class HeadEffects {
 public:
  // In every run each head's threshold is multiplied or divided by kStep.
  static constexpr double kStep = 1.7;
  static constexpr double kMostFactor = 2.0;  // factors lie between 1 / kMostFactor and kMostFactor

  HeadEffects(int64_t n_layers, int64_t n_heads, uint64_t seed);

  // How many runs a window takes: a power of two that is larger than the number of heads of all layers.
  int64_t n_runs() const { return n_runs_; }
  // Begins a window, whose runs are independent of those of the others.
  void begin_window();
  // Returns the factors of a run of this window, [n_layers, n_heads].
  std::vector<float> factors_of_run(int64_t run) const;
  // Adds what a run has shown: what it lost against dense attention, and the share of blocks that it kept.
  void add(int64_t run, double loss, double density);

  // Returns the factors, [n_layers, n_heads], rounded to thousandths. There must be at least two whole
  // windows, because the differences between windows say how far the effects can be trusted.
  std::vector<float> factors() const;

 private:
  struct Effect {
    double loss = 0.0, density = 0.0;  // of a threshold that is multiplied by kStep
  };
  // The runs of a window are the rows of a Hadamard matrix, and each head has a column of it. Different
  // columns are orthogonal, so each run tells about all heads at once.
  int sign(int64_t run, size_t head) const;
  // Returns each head's effects, as means over windows.
  std::vector<Effect> means() const;
  // Returns the variance of a head's mean loss over windows. It is the same for all heads, because a few
  // windows say little about the variance of each.
  double variance(const std::vector<Effect>& means) const;

  int64_t n_runs_;
  uint64_t state_;
  std::vector<int64_t> columns_;              // of this window, one for each head
  std::vector<bool> flipped_;                 // of this window, one for each head
  std::vector<std::vector<Effect>> windows_;  // for each window one for each head
};

}  // namespace seer::cli
