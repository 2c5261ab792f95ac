#include "tools/seer/gate_summary.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "seer/error.h"

namespace seer::cli {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 1.0;
}

}  // namespace

GateSummary::GateSummary(int64_t n_kv_heads, bool softmaxed, int64_t max_side)
    : n_kv_heads_(n_kv_heads), softmaxed_(softmaxed), max_side_(max_side) {}

void GateSummary::add(const GateRows& rows) {
  if (maps_.empty()) {
    n_blocks_ = rows.n_blocks;
    cell_ = (n_blocks_ + max_side_ - 1) / max_side_;
    const int64_t side = (n_blocks_ + cell_ - 1) / cell_;
    const std::vector<float> empty(static_cast<size_t>(side * side), 0.0F);
    maps_.assign(static_cast<size_t>(rows.n_heads), {side, empty, empty});
    kept_.resize(maps_.size());
    before_.resize(static_cast<size_t>(rows.n_heads * n_blocks_));
  }
  if (rows.n_heads != n_heads() || rows.n_blocks != n_blocks_ || rows.first_row != n_rows_ ||
      rows.first_row + rows.n_rows > n_blocks_)
    throw Error(ErrorKind::kRuntime, "the engine reported gate rows out of order");
  for (int64_t row = 0; row < rows.n_rows; ++row) {
    for (int64_t head = 0; head < rows.n_heads; ++head) add_row(rows, row, head);
    count_shared(rows, row);
  }
  n_rows_ += rows.n_rows;
}

void GateSummary::add_row(const GateRows& rows, int64_t row, int64_t head) {
  const int64_t block_row = rows.first_row + row;
  const int64_t offset = (head * rows.n_rows + row) * n_blocks_;
  const float* const scores = rows.scores + offset;
  const uint8_t* const mask = rows.mask + offset;
  const int64_t n_causal = block_row + 1;
  double largest = 0.0;
  double sum = 1.0;
  if (!softmaxed_) {
    largest = *std::max_element(scores, scores + n_causal);
    sum = 0.0;
    for (int64_t j = 0; j < n_causal; ++j) sum += std::exp(scores[j] - largest);
  }
  BlockMap& map = maps_[static_cast<size_t>(head)];
  const int64_t cell_row = block_row / cell_;
  const int64_t last_row = std::min((cell_row + 1) * cell_, n_blocks_) - 1;
  int64_t length = 0;
  for (int64_t j = 0; j < n_causal; ++j) {
    const int64_t cell_column = j / cell_;
    const auto at = static_cast<size_t>(cell_row * map.side + cell_column);
    const double score = softmaxed_ ? scores[j] : std::exp(scores[j] - largest) / sum;
    map.score[at] = std::max(map.score[at], static_cast<float>(score));
    if (mask[j] == 0) continue;
    ++length;
    // Counts the cell's causal blocks: whole columns below the diagonal cells, and a triangle in diagonal
    // ones.
    const int64_t first_row = cell_row * cell_;
    int64_t n_cell = 0;
    for (int64_t r = first_row; r <= last_row; ++r)
      n_cell += std::max<int64_t>(0, std::min(r, cell_column * cell_ + cell_ - 1) - cell_column * cell_ + 1);
    map.kept[at] += 1.0F / static_cast<float>(n_cell);
  }
  kept_[static_cast<size_t>(head)] += length;
  lengths_.push_back(length);
}

void GateSummary::count_shared(const GateRows& rows, int64_t row) {
  const int64_t block_row = rows.first_row + row;
  const int64_t group = std::max<int64_t>(1, rows.n_heads / n_kv_heads_);
  const bool is_second = block_row % 2 == 1;
  const auto mask_of = [&](int64_t head) { return rows.mask + (head * rows.n_rows + row) * n_blocks_; };
  for (int64_t first = 0; first < rows.n_heads; first += group) {
    for (int64_t j = 0; j <= block_row; ++j) {
      bool any = false;
      bool any_of_both = false;
      for (int64_t head = first; head < std::min(first + group, rows.n_heads); ++head) {
        const bool now = mask_of(head)[j] != 0;
        const bool earlier = before_[static_cast<size_t>(head * n_blocks_ + j)] != 0;
        any = any || now;
        if (!is_second) continue;
        any_of_both = any_of_both || now || earlier;
        pair_kept_ += int64_t{now} + int64_t{earlier};
        pair_loads_ += now || earlier ? 1 : 0;
      }
      group_loads_ += any ? 1 : 0;
      both_loads_ += any_of_both ? 1 : 0;
    }
  }
  for (int64_t head = 0; head < rows.n_heads; ++head) {
    uint8_t* const to = before_.data() + head * n_blocks_;
    if (is_second) {
      std::fill_n(to, n_blocks_, uint8_t{0});
    } else {
      std::copy_n(mask_of(head), n_blocks_, to);
    }
  }
}

double GateSummary::density(int64_t head) const {
  return ratio(kept_.at(static_cast<size_t>(head)), n_rows_ * (n_rows_ + 1) / 2);
}

double GateSummary::density() const {
  const int64_t kept = std::accumulate(kept_.begin(), kept_.end(), int64_t{0});
  return ratio(kept, n_heads() * n_rows_ * (n_rows_ + 1) / 2);
}

double GateSummary::shared_by_rows() const { return ratio(pair_kept_, pair_loads_); }

double GateSummary::shared_by_group() const {
  return ratio(std::accumulate(kept_.begin(), kept_.end(), int64_t{0}), group_loads_);
}

double GateSummary::shared_by_both() const { return ratio(pair_kept_, both_loads_); }

int64_t GateSummary::row_length(double p) const {
  if (lengths_.empty()) return 0;
  std::vector<int64_t> sorted = lengths_;
  std::sort(sorted.begin(), sorted.end());
  const auto rank = static_cast<size_t>(std::ceil(p * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

}  // namespace seer::cli
