// Work items of the kernel: two query tiles of 64 rows that share what keys they can. With a mask and an even
// group they are two heads of a KV group at one query block; otherwise two neighbouring query blocks of one
// head.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention/sparse_prefill/params.h"

namespace seer::cuda {

inline constexpr int kTile = 64;  // queries of a tile, keys of a page

struct Item {
  int kv_head;
  int head[2];
  int row[2];              // query block of the segment; row[1] may lie behind the last
  int count[2];            // kept blocks of each tile
  int n_shared;            // leading blocks of both lists that are the same
  const int32_t* list[2];  // null: block k is k

  // The producer's order: what both want, then what one wants, alternating, then the longer list's rest.
  // Arrays are read through pick(): a run-time index would send the item to local memory.
  template <class T>
  __device__ static T pick(const T (&of_tile)[2], int tile) {
    return tile == 0 ? of_tile[0] : of_tile[1];
  }
  __device__ int n_private(int tile) const { return pick(count, tile) - n_shared; }
  __device__ int total() const { return n_shared + n_private(0) + n_private(1); }
  __device__ int both_private() const { return min(n_private(0), n_private(1)); }
  // The tile (bit 0, bit 1) and index of what stands at a place.
  __device__ int users(int at) const {
    const int j = at - n_shared, both = both_private();
    if (j < 0) return 3;
    if (j < 2 * both) return 1 << (j & 1);
    return n_private(0) > n_private(1) ? 1 : 2;
  }
  __device__ int index(int at) const {
    const int j = at - n_shared, both = both_private();
    if (j < 0) return at;
    return j < 2 * both ? n_shared + j / 2 : n_shared + j - both;
  }
  __device__ int block(int tile, int k) const {
    const int32_t* of_tile = pick(list, tile);
    return of_tile == nullptr ? k : of_tile[k];
  }
};

struct Items {
  bool by_heads;
  int n_rows, first_row;  // query blocks of the segment, and the first that is wanted
  int pairs;              // of a query block (by heads) or of a head (by rows)
  int n_items;

  __host__ __device__ explicit Items(const WgmmaPrefillParams& p)
      : by_heads(p.counts != nullptr && p.n_heads / p.n_kv_heads % 2 == 0),
        n_rows(static_cast<int>((p.n_tokens + kTile - 1) / kTile)),
        first_row(static_cast<int>(p.first_token / kTile)),
        pairs(by_heads ? p.n_heads / 2 : (n_rows - first_row + 1) / 2),
        n_items(by_heads ? pairs * (n_rows - first_row) : pairs * p.n_heads) {}

  // Heads and rows of item i, which the schedule takes in this order: the last two query blocks first, which
  // may be dense where others are not; then one KV head after the other, so that the keys in flight are those
  // of few, and long rows before short ones.
  __device__ Item locate(const WgmmaPrefillParams& p, int i) const {
    Item item = {};
    const int group = p.n_heads / p.n_kv_heads;
    if (by_heads) {
      const int n = n_rows - first_row, n_front = min(n, 2), pairs_of_kv = group / 2;
      int pair = 0, row = 0;
      if (i < n_front * pairs) {
        row = n_rows - 1 - i / pairs;
        pair = i % pairs;
      } else {
        const int j = i - n_front * pairs, of_kv = (n - n_front) * pairs_of_kv;
        row = n_rows - 1 - n_front - j % of_kv / pairs_of_kv;
        pair = j / of_kv * pairs_of_kv + j % pairs_of_kv;
      }
      item.head[0] = 2 * pair;
      item.head[1] = 2 * pair + 1;
      item.row[0] = item.row[1] = row;
    } else {
      const int kv_head = i / (pairs * group), j = i % (pairs * group);
      item.head[0] = item.head[1] = kv_head * group + j % group;
      item.row[0] = first_row + 2 * (pairs - 1 - j / group);
      item.row[1] = item.row[0] + 1;
    }
    item.kv_head = item.head[0] / group;
    return item;
  }
  __device__ int shared_slot(const WgmmaPrefillParams& p, const Item& item) const {
    return by_heads ? item.head[0] / 2 * p.n_mask_rows + item.row[0]
                    : item.head[0] * p.n_mask_rows + item.row[0] / 2;
  }
  // With its lists; the counts must be there.
  __device__ Item at(const WgmmaPrefillParams& p, int i) const {
    Item item = locate(p, i);
    const int first_block = static_cast<int>(p.start / kTile);
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
      if (item.row[tile] >= n_rows) continue;  // nothing to compute
      if (p.counts == nullptr) {
        item.count[tile] = first_block + item.row[tile] + 1;
      } else {
        const int64_t list = static_cast<int64_t>(item.head[tile]) * p.n_mask_rows + item.row[tile];
        item.count[tile] = p.counts[list];
        item.list[tile] = p.blocks + list * p.row_capacity;
      }
    }
    item.n_shared =
        p.counts == nullptr ? min(item.count[0], item.count[1]) : p.n_shared[shared_slot(p, item)];
    return item;
  }
};

}  // namespace seer::cuda
