// What the gates chose for decoded tokens in one layer: counts, and maps no larger than a screen.
#pragma once

#include <cstdint>
#include <vector>

#include "seer/request.h"

namespace seer::cli {

// One KV head's decoded tokens (downwards) by key blocks (to the right). If there are many tokens or blocks,
// a cell covers several of them.
struct DecodeMap {
  // All are [n_rows, n_columns]. For each cell: how many blocks were kept, how many there are up to the
  // tokens' own blocks, and the largest softmaxed gate score.
  std::vector<int64_t> kept, all;
  std::vector<float> score;
};

class DecodeSummary {
 public:
  // The n_tokens tokens from position `first` on are decoded, and a block has `block_tokens` tokens. A map
  // has at most `max_side` rows and `max_side` columns.
  DecodeSummary(int64_t first, int64_t n_tokens, int64_t block_tokens, int64_t max_side);
  // Takes the next token's rows. Throws Error{kRuntime} for rows out of order.
  void take(const DecodeGateRows& rows);

  bool empty() const { return n_taken_ == 0; }  // true of layers in which gates do not choose
  int64_t n_heads() const { return static_cast<int64_t>(maps_.size()); }
  int64_t n_tokens() const { return n_tokens_; }
  int64_t n_blocks() const { return n_blocks_; }  // up to the last token's own
  // The sizes of a map, and the tokens and blocks that a cell covers.
  int64_t n_rows() const { return (n_tokens_ + cell_tokens_ - 1) / cell_tokens_; }
  int64_t n_columns() const { return (n_blocks_ + cell_blocks_ - 1) / cell_blocks_; }
  int64_t cell_tokens() const { return cell_tokens_; }
  int64_t cell_blocks() const { return cell_blocks_; }
  const DecodeMap& map(int64_t head) const { return maps_.at(static_cast<size_t>(head)); }

  // Return the share of the blocks up to the tokens' own that was kept, by a KV head or by all of them.
  double density(int64_t head) const;
  double density() const;

 private:
  int64_t first_, n_tokens_, n_blocks_, cell_tokens_, cell_blocks_;
  int64_t n_taken_ = 0;
  std::vector<DecodeMap> maps_;
  std::vector<int64_t> kept_;  // by head
  int64_t all_ = 0;            // blocks up to the tokens' own
};

}  // namespace seer::cli
