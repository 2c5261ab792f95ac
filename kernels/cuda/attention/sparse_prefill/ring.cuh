// The ring of tiles in shared memory between the producer and the two consumers, and its barriers.
#pragma once

#include <cstdint>

#include "kernels/cuda/attention/sparse_prefill/items.cuh"

namespace seer::cuda {

template <int kDHead_>
struct WgmmaShape {
  static constexpr int kDHead = kDHead_;
  static_assert(kDHead == 64 || kDHead == 128);
  static constexpr int kPanels = kDHead / 64;      // 64 columns of 128 bytes, the widest swizzle
  static constexpr int kPanelBytes = kTile * 128;  // 64 rows of a panel
  static constexpr int kTileBytes = kPanels * kPanelBytes;
  static constexpr int kSlots = kDHead == 128 ? 7 : 14;  // tiles of K, and as many of V, on the way or in use
  static constexpr int kConsumers = 2;
  static constexpr int kThreads = (kConsumers + 1) * 128;
  // 1024-byte alignment of the tiles is the swizzle's.
  static constexpr int kSharedBytes = 2 * kSlots * kTileBytes + 1024;
};

template <int kDHead>
struct WgmmaBarriers {
  static constexpr int kSlots = WgmmaShape<kDHead>::kSlots;
  // full: the producer arrives and the copy engine's bytes complete it; consumers wait. empty: all eight
  // consumer warps arrive, those that pass the tile by too; the producer waits before it fills the slot
  // again. So neither side is ever more than one phase ahead of the other, which is as far as parities can
  // tell.
  uint64_t full_k[kSlots], full_v[kSlots], empty_k[kSlots], empty_v[kSlots];
  // Items: the producer arrives when items[i] is written, every consumer warp when it has read it.
  uint64_t full_item[2], empty_item[2];
  int items[2];
};

// A place of the ring, and which phase of its barriers is meant.
template <int kSlots>
struct Cursor {
  uint32_t slot = 0, parity = 0;
  __device__ void next() {
    ++slot;
    if (slot == kSlots) {
      slot = 0;
      parity ^= 1U;
    }
  }
};

}  // namespace seer::cuda
