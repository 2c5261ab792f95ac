// What rules would keep of a gate's scores, and how much of the attention that is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "models/distill/gate_plan.h"

namespace seer {

// One rule: the share of the visible blocks that it keeps, and the share of the ground truth in them. Means
// over rows, heads, layers and windows; blocks that the engine keeps besides (the diagonal of a row that kept
// nothing, the last rows of a prompt, a token's own block) are not counted.
struct RulePoint {
  std::string rule;
  double value = 0.0;
  bool share = false;  // keeps the best share `value` of the visible blocks; else those above a threshold
  double kept = 0.0, visible = 0.0, covered = 0.0, n_rows = 0.0;

  double density() const { return visible == 0.0 ? 0.0 : kept / visible; }
  double recall() const { return n_rows == 0.0 ? 0.0 : covered / n_rows; }
};

// Adds up the points of some windows.
class HeldOutPoints {
 public:
  HeldOutPoints();
  // Reads scores before the softmax and ground truth, f32 [n_heads, rows.n, n_blocks], from the device.
  void add(Backend* backend, const Tensor& scores, const Tensor& truth, const ScoredRows& rows);
  const std::vector<RulePoint>& points() const { return points_; }

 private:
  void add_row(float* scores, const float* truth, int64_t n);

  std::vector<RulePoint> points_;
  std::vector<float> scores_, truth_;
  std::vector<int32_t> order_;
};

}  // namespace seer
