// The ring of tiles in shared memory between producers and consumers, and its barriers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention/prefill_sm90/items.cuh"

namespace seer::cuda {

template <int kDHead_>
struct WgmmaShape {
  static constexpr int kDHead = kDHead_;
  static_assert(kDHead == 64 || kDHead == 128);
  static constexpr int kPanels = kDHead / 64;      // 64 columns of 128 bytes, the widest swizzle
  static constexpr int kPanelBytes = kTile * 128;  // 64 rows of a panel
  static constexpr int kTileBytes = kPanels * kPanelBytes;
  static constexpr int kSlots = kDHead == 128 ? 7 : 14;  // for tiles of K, and as many for V
  static constexpr int kThreads = (kConsumers + 1) * 128;
  // 1024 bytes more, because the swizzle needs tiles at multiples of 1024 bytes.
  static constexpr int kSharedBytes = 2 * kSlots * kTileBytes + 1024;
  // There are more places than slots. So before a place is written again, the slot that its old entry named
  // has been filled again, which means that the consumer has read the entry and given back the slot.
  static constexpr int kQueue = kDHead == 128 ? 8 : 16;
  static_assert(kQueue > kSlots);
};

// Tells a consumer which slot to use next, and how.
struct Entry {
  uint32_t word, tile;

  static constexpr uint32_t kDiagonal = 1U << 16, kLast = 1U << 17, kEnd = 1U << 18, kPartial = 1U << 19;

  __device__ uint32_t slot() const { return word & 0xffU; }
  __device__ uint32_t parity() const { return word >> 8 & 1U; }  // of the phase of the slot's full barriers
  // A tile's first entry names the slot whose place for keys holds its queries.
  __device__ static uint32_t queries_at(uint32_t slot, uint32_t parity) { return slot << 12 | parity << 9; }
  __device__ uint32_t queries_slot() const { return word >> 12 & 0xfU; }
  __device__ uint32_t queries_parity() const { return word >> 9 & 1U; }
  __device__ bool diagonal() const { return (word & kDiagonal) != 0; }
  // True for the diagonal block of a tile in which the prompt ends.
  __device__ bool partial() const { return (word & kPartial) != 0; }
  __device__ bool last() const { return (word & kLast) != 0; }
  __device__ bool end() const { return (word & kEnd) != 0; }  // of all work
};

template <int kDHead>
struct WgmmaBarriers {
  static constexpr int kSlots = WgmmaShape<kDHead>::kSlots, kQueue = WgmmaShape<kDHead>::kQueue;
  // full: the tile's users wait for it; the producer arrives, and the copy engine's bytes complete it. empty:
  // the producer waits for it before it fills the slot again; the four warps of the slot's consumer arrive,
  // or, if all consumers share the slot, the four of each. The producer arrives for consumers that do not use
  // the tile.
  uint64_t full_k[kSlots], full_v[kSlots], empty_k[kSlots], empty_v[kSlots];
  // The same for a consumer's queries, which lie in a place for keys.
  uint64_t full_q[kConsumers], empty_q[kConsumers];
  // The consumer's warps wait for full_entry; the producer arrives when it has written the entry.
  uint64_t full_entry[kConsumers][kQueue];
  uint64_t entries[kConsumers][kQueue];
};
inline constexpr int kConsumerWarps = 4;

}  // namespace seer::cuda
