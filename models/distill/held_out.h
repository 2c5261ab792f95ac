// Measures which share of the blocks a rule would keep by a gate's scores, and which share of the ground
// truth these blocks have.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "models/distill/gate_plan.h"

namespace seer {

// The shares of one rule: that of the visible blocks which it keeps, and that of the ground truth in them.
// They are means over rows, heads, layers and windows. Blocks that the engine keeps in addition (the diagonal
// of a row that kept nothing, the last rows of a prompt, the first block and a token's own) are not counted.
struct RulePoint {
  std::string rule;
  double value = 0.0;
  bool share = false;  // keeps the best share `value` of the visible blocks, not those above `value`
  double kept = 0.0, visible = 0.0, covered = 0.0, possible = 0.0, n_rows = 0.0;

  double density() const { return visible == 0.0 ? 0.0 : kept / visible; }
  double recall() const { return n_rows == 0.0 ? 0.0 : covered / n_rows; }
  // The recall if each row kept as many blocks, and these were the best ones by the ground truth.
  double possible_recall() const { return n_rows == 0.0 ? 0.0 : possible / n_rows; }
};

// Adds up the points of some windows.
class HeldOutPoints {
 public:
  HeldOutPoints();
  // Reads scores before the softmax and ground truth, f32 [n_heads, rows.n, n_blocks], from the device, and
  // counts every row. If a head has 2048 rows or more, it counts only every k-th row, and k is rows.n / 1024
  // rounded down, so that at least 1024 rows are counted.
  void add(Backend* backend, const Tensor& scores, const Tensor& truth, const ScoredRows& rows);
  const std::vector<RulePoint>& points() const { return points_; }
  // counts() returns the counts of all points as a list, and add_counts() adds such a list. So the counts of
  // all ranks can be added up.
  std::vector<double> counts() const;
  void add_counts(std::span<const double> counts);

 private:
  void add_row(float* scores, const float* truth, int64_t n);

  std::vector<RulePoint> points_;
  std::vector<float> scores_, truth_;
  std::vector<int32_t> order_;
  std::vector<float> best_truth_;
  std::vector<double> most_of_;  // the ground truth of the k best blocks, for k from 0 on
};

}  // namespace seer
