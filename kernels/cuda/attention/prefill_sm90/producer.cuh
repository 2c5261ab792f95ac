// Producers: warps that hand out work to the consumers and load the tiles for it.
#pragma once

#include "kernels/cuda/attention/prefill_sm90/ring.cuh"
#include "kernels/cuda/ptx/mbarrier.cuh"
#include "kernels/cuda/ptx/prefetch.cuh"
#include "kernels/cuda/ptx/shared.cuh"
#include "kernels/cuda/ptx/tma.cuh"

namespace seer::cuda {

inline constexpr unsigned kWarp = 0xffffffffU;

// Puts tiles into slots and entries into queues. Whole warps must call the functions; lane 0 acts.
template <int kDHead>
class Feed {
  using Shape = WgmmaShape<kDHead>;
  using Barriers = WgmmaBarriers<kDHead>;

 public:
  __device__ Feed(const TileMaps& maps, Barriers& barriers, uint32_t shared_k)
      : maps_(maps),
        barriers_(ptx::opaque(ptx::shared_address(&barriers))),
        shared_k_(ptx::opaque(shared_k)) {}

  // Loads the page pool's tokens [row, row + 64) of one KV head into the slot, in a phase of the given
  // parity. `idle` is how many of the consumers that its empty barriers count do not use the tile.
  __device__ void load(uint32_t slot, uint32_t parity, int row, int idle) const {
    fill<kFullK, kEmptyK, 0>(maps_.k, slot, parity, row, idle);
    fill<kFullV, kEmptyV, kValues>(maps_.v, slot, parity, row, idle);
  }
  // Loads the queries of the step's tokens from `row` on, of one head, into the slot's place for keys, once
  // the keys of the phase with the given parity have been used.
  __device__ void load_queries(int consumer, uint32_t slot, uint32_t parity, int row, int head) const {
    ptx::mbarrier_wait(barriers_ + slot * 8 + kEmptyK, parity);
    if (threadIdx.x % 32 != 0) return;
    const uint32_t full = barriers_ + offsetof(Barriers, full_q) + consumer * 8;
    ptx::mbarrier_arrive_expect(full, Shape::kTileBytes);
    ptx::tma_load_3d(shared_k_ + slot * Shape::kTileBytes, &maps_.q, full, 0, row, head * Shape::kPanels);
  }
  // Waits until the consumer has taken its queries from shared memory.
  __device__ void wait_for_queries(int consumer, uint32_t parity) const {
    ptx::mbarrier_wait(barriers_ + offsetof(Barriers, empty_q) + consumer * 8, parity);
  }

  // Writes entry n of the consumer. Call it only after load() for the same slot, which waits until the slot's
  // previous values were given back. Otherwise full_v of the slot may still be one phase behind. The
  // consumer's wait would then return at once, because a parity cannot tell a phase behind from a phase
  // ahead.
  __device__ void push(int consumer, uint32_t n, uint32_t word, uint32_t tile) const {
    const uint32_t place = consumer * Shape::kQueue + n % Shape::kQueue;
    ptx::store_8(barriers_ + offsetof(Barriers, entries) + place * 8, word, tile);
    ptx::mbarrier_arrive(barriers_ + offsetof(Barriers, full_entry) + place * 8);
  }

 private:
  static constexpr uint32_t kFullK = offsetof(Barriers, full_k), kFullV = offsetof(Barriers, full_v),
                            kEmptyK = offsetof(Barriers, empty_k), kEmptyV = offsetof(Barriers, empty_v),
                            kValues = Shape::kSlots * Shape::kTileBytes;

  template <uint32_t kFull, uint32_t kEmpty, uint32_t kTiles>
  __device__ void fill(const CUtensorMap& map, uint32_t slot, uint32_t parity, int row, int idle) const {
    const uint32_t barrier = barriers_ + slot * 8;
    // Waits for the phase before this fill's. Before the first fill there is no such phase, and a new barrier
    // reports it as ended.
    ptx::mbarrier_wait(barrier + kEmpty, parity ^ 1U);
    if (threadIdx.x % 32 != 0) return;
    if (idle > 0) ptx::mbarrier_arrive(barrier + kEmpty, static_cast<uint32_t>(idle * kConsumerWarps));
    ptx::mbarrier_arrive_expect(barrier + kFull, Shape::kTileBytes);
    ptx::tma_load_3d(shared_k_ + kTiles + slot * Shape::kTileBytes, &map, barrier + kFull, 0, row, 0);
  }

  const TileMaps& maps_;
  uint32_t barriers_, shared_k_;  // addresses
};

// Prefetches the queries of a tile, which its consumer reads some loads later.
template <int kDHead>
__device__ void prefetch_queries(const PrefillSm90Params& p, const QueryTile& tile, int lane) {
  for (int r = lane; r < kTile; r += 32) {
    const int64_t token = static_cast<int64_t>(tile.row) * kTile + r;
    const char* q = static_cast<const char*>(p.q) + ((p.row + token) * p.n_heads + tile.head) * (2 * kDHead);
    if (token < p.n_tokens)
      for (int line = 0; line < 2 * kDHead; line += 128) ptx::prefetch_l2_line(q + line);
  }
}

// Hands out the items of the schedule. Every producer begins with the item of its own number, and asks a
// counter for more. Lane 0 asks; the other lanes get the answer from answer().
struct Schedule {
  int own, n_producers, n_items;

  __device__ int ask(const PrefillSm90Params& p, int lane) const {
    return lane == 0 ? atomicAdd(p.next_item, 1) : 0;
  }
  // Returns the item, or -1 if there are no more. Every producer that had an item must ask until it gets -1,
  // so that there are as many answers as items; the last answer sets the counter back to zero.
  __device__ int answer(const PrefillSm90Params& p, int asked, int lane) const {
    const int number = __shfl_sync(kWarp, asked, 0);
    if (number == n_items - 1 && lane == 0) *p.next_item = 0;
    return number + n_producers < n_items ? number + n_producers : -1;
  }
};
__device__ inline int pool_row(const PrefillSm90Params& p, const Items& items, int block, int head) {
  return (p.page_table[block] * p.n_kv_heads + items.group.quotient(head)) * kTile;
}
__device__ inline bool ends_in(const PrefillSm90Params& p, int row) {
  return static_cast<int64_t>(row + 1) * kTile > p.n_tokens;
}

// One warp serves one consumer, through slots of its own. Each tile has its own list of blocks.
//
// Finding the next tile takes three dependent reads of memory. Each one starts between two loads of the
// present tile, and the next load hides its latency.
template <int kDHead>
__device__ void produce_tiles(const PrefillSm90Params& p, const Items& items, const Feed<kDHead>& feed,
                              int consumer) {
  constexpr uint32_t kSlots = WgmmaShape<kDHead>::kSlots / kConsumers;
  constexpr int kStages = 3;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int n_blocks = static_cast<int>(gridDim.x);
  const Schedule schedule{consumer * n_blocks + static_cast<int>(blockIdx.x), n_blocks * kConsumers,
                          items.n_items};

  // block_of returns the block at a place of the tile's list, and 0 beyond the list's capacity. word_of
  // returns the word that loads it: the pool's row, a multiple of 64, plus 1 for the diagonal block.
  const auto block_of = [&](const QueryTile& tile, int at) {
    if (p.blocks == nullptr) return at;
    return at < p.row_capacity ? p.blocks[list_of(p, tile) * p.row_capacity + at] : 0;
  };
  const auto word_of = [&](const QueryTile& tile, int total, int at, int block) {
    if (at >= total) return 0;
    return pool_row(p, items, block, tile.head) | (block == causal_blocks(p, tile.row) - 1 ? 1 : 0);
  };

  QueryTile next = {};
  int next_total = 0, next_word = 0;  // during the search they hold the item and the block
  const auto found = [&](int item) {
    next_total = 0;
    if (item < 0) return;
    next = items.at(item);
    next_total = kept_blocks(p, next);
    next_word = block_of(next, lane);
  };
  const auto look = [&](int stage) {
    if (stage == 0) {
      next_total = schedule.ask(p, lane);
    } else if (stage == 1) {
      found(schedule.answer(p, next_total, lane));
    } else if (stage == 2) {
      next_word = word_of(next, next_total, lane, next_word);
    }
  };
  found(schedule.own < items.n_items ? schedule.own : -1);
  look(2);

  uint32_t n = 0;  // loads so far
  uint32_t n_tiles = 0;
  uint32_t taken = kSlots;  // the slot whose place for keys holds queries, or kSlots if none does
  while (next_total > 0) {
    const QueryTile tile = next;
    const int total = next_total;
    int words = next_word;
    for (int base = 0; base < total; base += 32) {
      const int then =
          base + 32 < total ? word_of(tile, total, base + 32 + lane, block_of(tile, base + 32 + lane)) : 0;
      const int end = min(base + 32, total);
      for (int at = base; at < end; ++at, ++n) {
        const int word = __shfl_sync(kWarp, words, at - base);
        const uint32_t own = n % kSlots, slot = consumer * kSlots + own, parity = n / kSlots & 1U;
        if (own == taken) {
          feed.wait_for_queries(consumer, (n_tiles - 1) & 1U);
          taken = kSlots;
        }
        feed.load(slot, parity, word & ~1, 0);
        // The queries go to the place where the previous load had its keys. It is free as soon as the
        // previous tile has its last scores, and the queries must have left it before its slot is loaded
        // again.
        const uint32_t before = (n - 1) % kSlots;
        if (lane == 0) {
          uint32_t entry = slot | parity << 8;
          if (at == 0) entry |= Entry::queries_at(consumer * kSlots + before, n_tiles & 1U);
          if (word % 2 != 0) entry |= Entry::kDiagonal | (ends_in(p, tile.row) ? Entry::kPartial : 0U);
          if (at == total - 1) entry |= Entry::kLast;
          feed.push(consumer, n, entry, tile.packed());
        }
        if (at == 0) {
          feed.load_queries(consumer, consumer * kSlots + before, (n - 1) / kSlots & 1U,
                            static_cast<int>(p.row) + tile.row * kTile, tile.head);
          taken = before;
          ++n_tiles;
        }
        if (at < kStages) look(at);
      }
      words = then;
    }
    for (int stage = total; stage < kStages; ++stage) look(stage);
  }
  if (lane == 0) feed.push(consumer, n, Entry::kEnd, 0);
}

// One warp serves all consumers through all slots: three neighbouring tiles of a head at a time, over all
// causal blocks. Lane i has the state of consumer i.
template <int kDHead>
__device__ void produce_bundles(const PrefillSm90Params& p, const Items& items, const Feed<kDHead>& feed) {
  constexpr uint32_t kSlots = WgmmaShape<kDHead>::kSlots;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const Schedule schedule{static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), items.n_items};
  uint32_t n = 0, n_pushed = 0;
  int item = schedule.own < items.n_items ? schedule.own : -1;
  for (; item >= 0; item = schedule.answer(p, schedule.ask(p, lane), lane)) {
    const QueryTile first = items.at(item);
    const int own_row = first.row + lane;
    const bool takes_part = lane < kConsumers && own_row >= items.first_row;
    const int own_total = takes_part ? causal_blocks(p, own_row) : 0;
    for (int i = 0; i < kConsumers; ++i)
      if (first.row + i >= items.first_row) prefetch_queries<kDHead>(p, {first.row + i, first.head}, lane);
    const int total = causal_blocks(p, first.row + kConsumers - 1);
    const auto row_of = [&](int at) { return at < total ? pool_row(p, items, at, first.head) : 0; };
    int rows = row_of(lane);
    for (int base = 0; base < total; base += 32) {
      const int then = row_of(base + 32 + lane);
      const int end = min(base + 32, total);
      for (int at = base; at < end; ++at, ++n) {
        const bool mine = at < own_total;
        const int n_users = __popc(__ballot_sync(kWarp, mine));
        const uint32_t slot = n % kSlots, round = n / kSlots & 1U;
        feed.load(slot, round, __shfl_sync(kWarp, rows, at - base), kConsumers - n_users);
        if (!mine) continue;
        uint32_t entry = slot | round << 8;
        if (at == own_total - 1)
          entry |= Entry::kLast | Entry::kDiagonal | (ends_in(p, own_row) ? Entry::kPartial : 0U);
        feed.push(lane, n_pushed++, entry, QueryTile{own_row, first.head}.packed());
      }
      rows = then;
    }
  }
  if (lane < kConsumers) feed.push(lane, n_pushed, Entry::kEnd, 0);
}

}  // namespace seer::cuda
