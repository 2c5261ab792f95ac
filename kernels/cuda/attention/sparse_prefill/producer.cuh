// The producer: one warp that hands out items and keeps tiles coming.
#pragma once

#include "kernels/cuda/attention/sparse_prefill/ring.cuh"
#include "kernels/cuda/ptx/mbarrier.cuh"
#include "kernels/cuda/ptx/prefetch.cuh"
#include "kernels/cuda/ptx/shared.cuh"
#include "kernels/cuda/ptx/tma.cuh"

namespace seer::cuda {

// Tells the consumers which item comes next and streams its tiles through the ring. One warp.
template <int kDHead>
__device__ void produce(const WgmmaPrefillParams& p, const PageMaps& maps, WgmmaBarriers<kDHead>& barriers,
                        uint32_t shared_k, uint32_t shared_v) {
  using Shape = WgmmaShape<kDHead>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const Items items(p);
  const auto address = [](const uint64_t& barrier) { return ptx::shared_address(&barrier); };
  Cursor<Shape::kSlots> cursor;
  bool first_round = true;  // nothing to wait for yet
  for (int n = 0;; ++n) {
    int i = 0;
    if (lane == 0) i = atomicAdd(p.next_item, 1);
    i = __shfl_sync(0xffffffffU, i, 0);
    if (i >= items.n_items) i = -1;
    if (n >= 2) ptx::mbarrier_wait(address(barriers.empty_item[n % 2]), (n / 2 - 1) % 2);
    if (lane == 0) {
      barriers.items[n % 2] = i;
      ptx::mbarrier_arrive(address(barriers.full_item[n % 2]));
    }
    if (i < 0) return;
    const Item item = items.at(p, i);
    // The consumers read their queries when they come to this item, some tiles from now.
    for (int tile = 0; tile < 2; ++tile)
      for (int row = lane; row < kTile; row += 32) {
        const int64_t token = static_cast<int64_t>(Item::pick(item.row, tile)) * kTile + row;
        const char* q = static_cast<const char*>(p.q) +
                        ((p.row + token) * p.n_heads + Item::pick(item.head, tile)) * (2 * kDHead);
        if (token < p.n_tokens)
          for (int line = 0; line < 2 * kDHead; line += 128) ptx::prefetch_l2_line(q + line);
      }
    const int total = item.total();
    const auto row_of = [&](int at) {  // of the page pool, whose rows are tokens of one page and KV head
      if (at >= total) return 0;
      const int users = item.users(at), block = item.block(users == 2 ? 1 : 0, item.index(at));
      return (p.page_table[block] * p.n_kv_heads + item.kv_head) * kTile;
    };
    int rows = row_of(lane);  // of 32 places, a lane each; the next 32 are looked up while these are copied
    for (int base = 0; base < total; base += 32) {
      const int next_rows = row_of(base + 32 + lane);
      for (int at = base; at < min(base + 32, total); ++at) {
        const int row = __shfl_sync(0xffffffffU, rows, at - base);
        const uint32_t slot = cursor.slot;
        const auto refill = [&](const uint64_t& empty, const uint64_t& full, const CUtensorMap& map,
                                uint32_t tiles) {
          if (!first_round) ptx::mbarrier_wait(address(empty), cursor.parity ^ 1U);
          if (lane == 0) {
            ptx::mbarrier_arrive_expect(address(full), Shape::kTileBytes);
#pragma unroll
            for (int panel = 0; panel < Shape::kPanels; ++panel)
              ptx::tma_load_2d(tiles + slot * Shape::kTileBytes + panel * Shape::kPanelBytes, &map,
                               address(full), panel * 64, row);
          }
        };
        refill(barriers.empty_k[slot], barriers.full_k[slot], maps.k, shared_k);
        refill(barriers.empty_v[slot], barriers.full_v[slot], maps.v, shared_v);
        cursor.next();
        first_round = first_round && cursor.slot != 0;
      }
      rows = next_rows;
    }
  }
}

}  // namespace seer::cuda
