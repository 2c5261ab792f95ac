// The work items of the kernel and their order. An item is a tile of 64 queries of one head, or a bundle of
// three neighbouring tiles, which keep every block and share their loads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/block_mask.h"
#include "kernels/cuda/attention/prefill_sm90/params.h"

namespace seer::cuda {

inline constexpr int kTile = 64;      // queries of a tile, keys of a page
inline constexpr int kConsumers = 3;  // warpgroups that compute, and tiles of a bundle

// Query block `row` of the segment and head `head`, in one word.
struct QueryTile {
  int row, head;
  __device__ uint32_t packed() const {
    return static_cast<uint32_t>(row) << 12 | static_cast<uint32_t>(head);
  }
  __device__ static QueryTile unpack(uint32_t word) {
    return {static_cast<int>(word >> 12), static_cast<int>(word & 0xfffU)};
  }
};

// Divides numbers below 2^31 by a number that the host knows, in two instructions (Granlund and Montgomery,
// "Division by invariant integers using multiplication", 1994). Ordinary divisions in a producer would take a
// quarter of the multiprocessor's time from its consumers.
struct Divider {
  uint32_t divisor, multiplier, shift;

  explicit Divider(int by) : divisor(static_cast<uint32_t>(by)), shift(0) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    multiplier =
        static_cast<uint32_t>(((uint64_t{1} << 32) * ((uint64_t{1} << shift) - divisor)) / divisor + 1);
  }
  __device__ int quotient(int x) const {
    const auto n = static_cast<uint32_t>(x);
    return static_cast<int>((__umulhi(n, multiplier) + n) >> shift);
  }
  __device__ int remainder(int x, int quotient) const { return x - quotient * static_cast<int>(divisor); }
};

// The items of one launch. A bundle has the tiles of rows tile.row .. tile.row + 2; its first rows may lie
// before first_row, and are then not computed.
struct Items {
  int n_rows, first_row;  // query blocks of the segment, and the first that is wanted
  int rows_of_item;       // 1 or kConsumers
  int items_per_head;
  int front_per_head;  // of items_per_head, those that come first
  int n_items;
  Divider heads, group, of_kv;  // of_kv: items of a KV head after the front

  Items(const PrefillSm90Params& p, bool bundled)
      : n_rows(static_cast<int>((p.n_tokens + kTile - 1) / kTile)),
        first_row(static_cast<int>(p.first_token / kTile)),
        rows_of_item(bundled ? kConsumers : 1),
        items_per_head((n_rows - first_row + rows_of_item - 1) / rows_of_item),
        front_per_head(std::min(
            items_per_head, (static_cast<int>(SelectRule::kDenseRows) + rows_of_item - 1) / rows_of_item)),
        n_items(items_per_head * p.n_heads),
        heads(p.n_heads),
        group(p.n_heads / p.n_kv_heads),
        of_kv(std::max(1, (items_per_head - front_per_head) * (p.n_heads / p.n_kv_heads))) {}

  // Returns item i of the schedule. The items of the last kDenseRows query blocks of all heads come first,
  // because they may be dense when others are sparse. Then one KV head follows the other, so that the keys in
  // flight belong to few KV heads, with long rows before short ones.
  __device__ QueryTile at(int i) const {
    int from_end = 0, head = 0;  // from_end: the place among the head's items, counted from the prompt's end
    const int n_in_front = front_per_head * static_cast<int>(heads.divisor);
    if (i < n_in_front) {
      from_end = heads.quotient(i);
      head = heads.remainder(i, from_end);
    } else {
      const int j = i - n_in_front, kv_head = of_kv.quotient(j), k = of_kv.remainder(j, kv_head),
                of_group = group.quotient(k);
      from_end = front_per_head + of_group;
      head = kv_head * static_cast<int>(group.divisor) + group.remainder(k, of_group);
    }
    return {n_rows - (from_end + 1) * rows_of_item, head};
  }
};

// Return the index of a tile's list, the number of a row's causal blocks, and the number that a tile keeps.
__device__ inline int64_t list_of(const PrefillSm90Params& p, const QueryTile& tile) {
  return static_cast<int64_t>(tile.head) * p.n_mask_rows + tile.row;
}
__device__ inline int causal_blocks(const PrefillSm90Params& p, int row) {
  return static_cast<int>(p.start / kTile) + row + 1;
}
__device__ inline int kept_blocks(const PrefillSm90Params& p, const QueryTile& tile) {
  return p.counts == nullptr ? causal_blocks(p, tile.row) : p.counts[list_of(p, tile)];
}

}  // namespace seer::cuda
