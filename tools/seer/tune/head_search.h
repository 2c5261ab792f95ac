// Finds the factors of head_threshold=T: runs windows of the text under thresholds that differ from head to
// head.
#pragma once

#include <cstdint>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/status_line.h"
#include "tools/seer/tune/head_effects.h"
#include "tools/seer/window_losses.h"

namespace seer::cli {

class HeadSearch {
 public:
  // Thresholds differ around `threshold`.
  HeadSearch(const ModelInfo& model, double threshold, int64_t seed);

  // Runs a window of the text once densely and HeadEffects::n_runs() times under different thresholds. Throws
  // Error{kCancelled} after an interrupt.
  void run_window(WindowLosses& windows, int64_t index, StatusLine& line);
  int64_t n_runs() const { return effects_.n_runs(); }
  // Returns the factors [n_layers, n_heads]. There must have been two windows.
  std::vector<float> factors() const { return effects_.factors(); }

 private:
  int64_t n_vocab_;
  SparseRule rule_;
  HeadEffects effects_;
};

}  // namespace seer::cli
