#include "tools/seer/decode_summary.h"

#include <algorithm>
#include <numeric>

#include "seer/error.h"

namespace seer::cli {
namespace {

double ratio(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 1.0;
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

DecodeSummary::DecodeSummary(int64_t first, int64_t n_tokens, int64_t block_tokens, int64_t max_side)
    : first_(first),
      n_tokens_(n_tokens),
      n_blocks_(divide_up(first + n_tokens, block_tokens)),
      cell_tokens_(std::max<int64_t>(1, divide_up(n_tokens, max_side))),
      cell_blocks_(std::max<int64_t>(1, divide_up(n_blocks_, max_side))) {}

void DecodeSummary::take(const DecodeGateRows& rows) {
  if (maps_.empty()) {
    const auto size = static_cast<size_t>(n_rows() * n_columns());
    const DecodeMap none = {std::vector<int64_t>(size), std::vector<int64_t>(size), std::vector<float>(size)};
    maps_.assign(static_cast<size_t>(rows.n_kv_heads), none);
    kept_.resize(maps_.size());
  }
  if (rows.n_kv_heads != n_heads() || rows.position != first_ + n_taken_ || n_taken_ == n_tokens_ ||
      rows.n_blocks > n_blocks_)
    throw Error(ErrorKind::kRuntime, "the engine reported rows of decode gates out of order");
  for (int64_t head = 0; head < rows.n_kv_heads; ++head) {
    DecodeMap& map = maps_[static_cast<size_t>(head)];
    for (int64_t b = 0; b < rows.n_blocks; ++b) {
      const auto from = static_cast<size_t>(head * rows.n_blocks + b);
      const auto cell = static_cast<size_t>(n_taken_ / cell_tokens_ * n_columns() + b / cell_blocks_);
      map.kept[cell] += rows.mask[from];
      map.all[cell] += 1;
      map.score[cell] = std::max(map.score[cell], rows.scores[from]);
      kept_[static_cast<size_t>(head)] += rows.mask[from];
    }
  }
  all_ += rows.n_blocks;
  ++n_taken_;
}

double DecodeSummary::density(int64_t head) const { return ratio(kept_.at(static_cast<size_t>(head)), all_); }

double DecodeSummary::density() const {
  return ratio(std::accumulate(kept_.begin(), kept_.end(), int64_t{0}), n_heads() * all_);
}

}  // namespace seer::cli
