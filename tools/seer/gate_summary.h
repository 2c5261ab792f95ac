// What the gates chose for a prompt in one layer: counts, and maps no larger than a screen. Rows are taken as
// the prefill reports them, so that a prompt of any length needs little memory.
#pragma once

#include <cstdint>
#include <vector>

#include "seer/request.h"

namespace seer::cli {

// One head's block rows (downwards) by key blocks (to the right). With many blocks, a cell covers several.
struct BlockMap {
  int64_t side = 0;
  std::vector<float> kept;   // [side, side], the share of the cell's causal blocks that was kept
  std::vector<float> score;  // [side, side], the largest softmaxed gate score in the cell
};

class GateSummary {
 public:
  // `n_kv_heads`: query head h uses the keys of KV head h / (n_heads / n_kv_heads). `softmaxed`: whether the
  // reported scores went through softmax already. `max_side`: the largest side of a map.
  GateSummary(int64_t n_kv_heads, bool softmaxed, int64_t max_side);
  // Throws Error{kRuntime} for rows out of order.
  void add(const GateRows& rows);

  int64_t n_heads() const { return static_cast<int64_t>(maps_.size()); }
  int64_t n_blocks() const { return n_blocks_; }
  int64_t cell_blocks() const { return cell_; }  // rows and columns of blocks that a cell of a map covers
  int64_t n_rows() const { return n_rows_; }     // equals n_blocks() when the prompt is done
  const BlockMap& map(int64_t head) const { return maps_.at(static_cast<size_t>(head)); }

  double density(int64_t head) const;  // kept / causal blocks
  double density() const;              // of all heads
  // How many queries one load of a key block serves on average, if two adjacent rows of a head share loads,
  // if the query heads of a group share them, and if both do. 1 means no sharing.
  double shared_by_rows() const;
  double shared_by_group() const;
  double shared_by_both() const;
  // Returns the number of kept blocks that a share `p` of all rows (of all heads) do not exceed.
  int64_t row_length(double p) const;

 private:
  void add_row(const GateRows& rows, int64_t row, int64_t head);
  void count_shared(const GateRows& rows, int64_t row);

  int64_t n_kv_heads_;
  bool softmaxed_;
  int64_t max_side_;
  int64_t n_blocks_ = 0, n_rows_ = 0, cell_ = 1;
  std::vector<BlockMap> maps_;
  std::vector<int64_t> kept_;  // by head
  std::vector<int64_t> lengths_;
  std::vector<uint8_t> before_;  // the even row of the current pair, [n_heads, n_blocks]
  // Blocks kept and blocks loaded: in pairs of rows, in groups, and in both. The pairs leave out a last row
  // without a partner.
  int64_t pair_kept_ = 0, pair_loads_ = 0, group_loads_ = 0, both_loads_ = 0;
};

}  // namespace seer::cli
