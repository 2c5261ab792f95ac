// The consumers. Each is a warpgroup that multiplies on the tensor cores, with online softmax between the
// products.
#pragma once

#include <cuda_bf16.h>

#include <cmath>
#include <cstddef>
#include <utility>

#include "kernels/cuda/attention/prefill_sm90/ring.cuh"
#include "kernels/cuda/ptx/mbarrier.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/shared.cuh"
#include "kernels/cuda/ptx/tma.cuh"
#include "kernels/cuda/ptx/wgmma.cuh"

namespace seer::cuda {

// The most by which a scaled score may exceed the shift (see softmax()). 2^32 is far from both ends of the
// range of bf16 and float32.
inline constexpr float kSlack = 32.0F;

// Calls f(0), ..., f(kCount - 1), with each number as a type.
template <int kCount, class F>
__device__ __forceinline__ void unroll(F&& f) {
  [&]<int... kI>(std::integer_sequence<int, kI...>) { (f(std::integral_constant<int, kI>{}), ...); }
  (std::make_integer_sequence<int, kCount>{});
}

// What a consumer of the ordinary kernels does with the largest scores of rows in a block, and with rows'
// sums: nothing. The kernel in attention/block_maxima has MaximaRowsSm90 instead, which has the same members
// and writes them to memory.
struct NoMaxima {
  // The largest scores of a lane's two rows in the present block, among the columns that the lane has.
  __device__ void see(const float (&/*tops*/)[2]) {}
  // The present block is done with, except for its product with the values, which is still running. `tile` is
  // a packed QueryTile, and `last` says that the block is the tile's last.
  __device__ void keep(uint32_t /*tile*/, bool /*last*/) {}
  // Row `row` of the tile is finished, and `sum` is that of 2^(score * log2(e) - shift) over its keys. All
  // lanes of the row's quad call it.
  __device__ void end_row(const QueryTile& /*tile*/, int /*row*/, float /*shift*/, float /*sum*/) {}
};

// One warpgroup, which computes one tile after the other. Within a tile, products and softmax alternate;
// during softmax the other consumers keep the tensor cores busy. kBundled: the tiles come in bundles.
template <int kDHead, bool kBundled, class Maxima>
class Consumer {
  using Shape = WgmmaShape<kDHead>;
  static constexpr int kDSteps = kDHead / 16;
  using Barriers = WgmmaBarriers<kDHead>;

 public:
  __device__ Consumer(const PrefillSm90Params& p, Barriers& barriers, uint32_t shared_k, int consumer,
                      const Maxima& maxima)
      : p_(p),
        consumer_(consumer),
        full_k_(ptx::opaque(address(barriers.full_k[0]))),
        full_entry_(address(barriers.full_entry[consumer][0])),
        keys_(shared_k),
        scale_(p.scale * 1.4426950408889634F),  // exp(x) = 2^(x log2 e)
        maxima_(maxima) {
    keys_.low = ptx::opaque(keys_.low);
    // full_entry_ must be opaque in one of the two kernels and not in the other. Only then does ptxas issue
    // the products of the scores back to back, which is 3% faster.
    if constexpr (!kBundled) full_entry_ = ptx::opaque(full_entry_);
  }

  __device__ void run() {
    Load load = {};
    fetch(&load, false);
    if (load.entry.end()) return;
    uint32_t tile = next_tile_;
    load_queries(tile, load.entry);
    for (;;) {
      row_sum_[0] = row_sum_[1] = 0.0F;
      shift_[0] = shift_[1] = -INFINITY;
#pragma unroll
      for (float& x : out_) x = 0.0F;
      for (bool last = false; !last;) {
        last = load.entry.last();
        attend_to_block(tile, &load);
      }
      end(QueryTile::unpack(tile));
      if (load.entry.end()) return;
      tile = next_tile_;
      load_queries(tile, load.entry);
    }
  }

 private:
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / 32 % 4; }
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ static uint32_t address(const uint64_t& barrier) { return ptx::shared_address(&barrier); }
  __device__ static void arrive(uint32_t barrier) {
    if (lane() == 0) ptx::mbarrier_arrive(barrier);
  }
  __device__ int n_queries(const QueryTile& tile) const {
    return static_cast<int>(
        min(static_cast<int64_t>(kTile), p_.n_tokens - static_cast<int64_t>(tile.row) * kTile));
  }

  // An entry, and the place of its slot.
  struct Load {
    Entry entry;
    uint32_t barrier;  // address of its full_k; its other barriers lie at fixed distances
    ptx::SharedOperand keys;
  };
  static constexpr uint32_t kKeysAreThere = 1U << 31;  // a bit of an entry's word that only consumers use
  static constexpr uint32_t kFullV = offsetof(Barriers, full_v) - offsetof(Barriers, full_k),
                            kEmptyK = offsetof(Barriers, empty_k) - offsetof(Barriers, full_k),
                            kEmptyV = offsetof(Barriers, empty_v) - offsetof(Barriers, full_k);

  __device__ __forceinline__ bool fetch_if_there(Load* load) {
    const bool is_there =
        ptx::mbarrier_test(full_entry_ + n_entries_ % Shape::kQueue * 8, n_entries_ / Shape::kQueue % 2);
    if (is_there) fetch(load, true);
    return is_there;
  }

  // Reads the next entry; `is_there` says that its barrier has been seen open already. Everything about the
  // load is worked out here, while a product runs, so that the next product need not wait for it.
  __device__ __forceinline__ void fetch(Load* load, bool is_there) {
    const uint32_t place = full_entry_ + n_entries_ % Shape::kQueue * 8;
    if (!is_there) ptx::mbarrier_wait(place, n_entries_ / Shape::kQueue % 2);
    // Lane 0 must read the entry, because lane 0 gives back the slot, and with it the entry's place.
    uint32_t word = 0, tile = 0;
    if (lane() == 0)
      ptx::load_8(place + offsetof(Barriers, entries) - offsetof(Barriers, full_entry), word, tile);
    load->entry.word = __shfl_sync(0xffffffffU, word, 0);
    next_tile_ = __shfl_sync(0xffffffffU, tile, 0);
    ++n_entries_;
    const uint32_t slot = load->entry.slot();
    load->barrier = ptx::opaque(full_k_ + slot * 8);
    load->keys.low = ptx::opaque(keys_.low + slot * (Shape::kTileBytes >> 4));
    if (ptx::mbarrier_test(load->barrier, load->entry.parity())) load->entry.word |= kKeysAreThere;
  }

  __device__ uint32_t queries_barrier(size_t of) const {
    return full_k_ + static_cast<uint32_t>(of - offsetof(Barriers, full_k)) +
           static_cast<uint32_t>(consumer_) * 8;
  }

  // Loads the next tile's queries, which its first entry names, as wgmma's left operand.
  __device__ __forceinline__ void load_queries(uint32_t tile, Entry first) {
    if constexpr (kBundled) return load_queries_from_memory(QueryTile::unpack(tile));
    ptx::mbarrier_wait(queries_barrier(offsetof(Barriers, full_q)), first.queries_parity());
    // ldmatrix reads two matrices of 8 rows, one above the other, then the same of the next eight columns.
    // Lane l passes the swizzled address of row l % 16 of the warp's rows, chunk l / 16 of 16 bytes. It is
    // computed here each time, because the loop has no register to keep it in.
    const uint32_t thread = ptx::opaque(threadIdx.x) % 128;
    const uint32_t row = ((keys_.low & 0x3fffU) << 4) + first.queries_slot() * Shape::kTileBytes +
                         (thread / 32 * 16 + thread % 16) * 128;
#pragma unroll
    for (uint32_t d = 0; d < kDSteps; ++d)
      ptx::ldmatrix_x4(
          q_[d], row + d / 4 * Shape::kPanelBytes + (((d % 4 * 2 + thread / 16 % 2) ^ (thread % 8)) << 4));
    __syncwarp();
    arrive(queries_barrier(offsetof(Barriers, empty_q)));
  }

  // Loads this lane's rows of the queries from global memory, straight into wgmma's layout.
  __device__ __forceinline__ void load_queries_from_memory(const QueryTile& tile) {
    const auto thread = static_cast<int>(ptx::opaque(threadIdx.x)), lane = thread % 32;
    const int64_t stride = static_cast<int64_t>(p_.n_heads) * kDHead;
    const auto* in = static_cast<const __nv_bfloat16*>(p_.q) +
                     (p_.row + static_cast<int64_t>(tile.row) * kTile) * stride + tile.head * kDHead;
    const int last = n_queries(tile) - 1;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = min(thread / 32 % 4 * 16 + lane / 4 + half * 8, last);
#pragma unroll
      for (int d = 0; d < kDSteps; ++d) {
        const __nv_bfloat16* at = in + row * stride + d * 16 + lane % 4 * 2;
        q_[d][half] = *reinterpret_cast<const uint32_t*>(at);
        q_[d][half + 2] = *reinterpret_cast<const uint32_t*>(at + 8);
      }
    }
  }

  // Attends from the tile's queries to one block of keys. Afterwards *load is the next one.
  __device__ __forceinline__ void attend_to_block(uint32_t tile, Load* load) {
    const Load now = *load;
    const Entry entry = now.entry;
    if ((entry.word & kKeysAreThere) == 0) ptx::mbarrier_wait(now.barrier, entry.parity());
    ptx::wgmma_fence();
    unroll<kDSteps>([&](auto d) {
      constexpr int kD = decltype(d)::value;
      ptx::wgmma_64x64x16<false, kD / 4 * Shape::kPanelBytes + kD % 4 * 32>(scores_, q_[kD], now.keys,
                                                                            kD > 0);
    });
    ptx::wgmma_commit();
    ptx::wgmma_wait<0>();
    ptx::pin_registers(scores_);
    arrive(now.barrier + kEmptyK);
    if constexpr (kDHead == 64) {
#pragma unroll
      for (auto& q : q_) ptx::keep_registers(q);
    }
    const bool values_are_there = ptx::mbarrier_test(now.barrier + kFullV, entry.parity());
    if (entry.diagonal()) mask_diagonal();
    softmax();
    uint32_t probabilities[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int j = 8 * i + r / 2 * 4 + r % 2 * 2;
        probabilities[i][r] = ptx::pack_bf16(scores_[j], scores_[j + 1]);
      }

    if (!values_are_there) ptx::mbarrier_wait(now.barrier + kFullV, entry.parity());
    if (entry.partial()) clear_unwritten(entry.slot(), n_queries(QueryTile::unpack(tile)));
    ptx::wgmma_fence();
    // Turns the keys' operand into the values': the address moves on by the bytes of the ring's keys, and the
    // panel stride, which keys do not need, is added.
    constexpr int kValues = Shape::kSlots * Shape::kTileBytes + ((Shape::kPanelBytes - 16) << 16);
    unroll<4>([&](auto i) {
      constexpr int kI = decltype(i)::value;
      if constexpr (kDHead == 128) {
        ptx::wgmma_64x128x16<true, kValues + kI * 2048>(out_, probabilities[kI], now.keys, true);
      } else {
        ptx::wgmma_64x64x16<true, kValues + kI * 2048>(out_, probabilities[kI], now.keys, true);
      }
    });
    ptx::wgmma_commit();
    // Fetches the next load while the product runs, but must not wait for it: it may need the slot that is
    // still in use here.
    const bool next_is_there = fetch_if_there(load);
    maxima_.keep(tile, entry.last());
    ptx::wgmma_wait<0>();
    ptx::pin_registers(out_);
    arrive(now.barrier + kEmptyV);
    if (!next_is_there) fetch(load, false);
  }

  // Waits for all threads of the warpgroup.
  __device__ __forceinline__ void barrier() const {
    switch (consumer_) {
      case 0:
        ptx::warpgroup_barrier<1>();
        break;
      case 1:
        ptx::warpgroup_barrier<2>();
        break;
      default:
        ptx::warpgroup_barrier<3>();
    }
  }

  // Masks the future keys of a diagonal block. In all other blocks every key is seen.
  __device__ __forceinline__ void mask_diagonal() {
#pragma unroll
    for (int j = 0; j < 32; ++j)
      if (j / 4 * 8 + lane() % 4 * 2 + j % 2 > warp() * 16 + lane() / 4 + j % 4 / 2 * 8)
        scores_[j] = -INFINITY;
  }

  // Sets the values after the prompt's last token to zero: nothing has written them, and 0 * NaN is NaN.
  __device__ void clear_unwritten(uint32_t slot, int n_queries) const {
    const uint32_t tile = ((keys_.low & 0x3fffU) << 4) + (Shape::kSlots + slot) * Shape::kTileBytes;
    const int n_chunks = (kTile - n_queries) * 8;  // of a panel, 16 bytes each
    for (int j = static_cast<int>(threadIdx.x) % 128; j < n_chunks * Shape::kPanels; j += 128)
      ptx::store_zeros_16(tile + j / n_chunks * Shape::kPanelBytes + (n_queries * 8 + j % n_chunks) * 16);
    ptx::fence_async_proxy();
    barrier();
  }

  // Online softmax: scores become probabilities in place. The shift need not be the maximum; it only has to
  // keep 2^x and sums of it in the range of bf16 and float32. So it stays as long as no scaled score is more
  // than kSlack above it.
  __device__ __forceinline__ void softmax() {
    float tops[2];
    bool above = false;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      tops[half] = fmaxf(scores_[2 * half], scores_[2 * half + 1]);
#pragma unroll
      for (int j = 1; j < 8; ++j)
        tops[half] = fmaxf(tops[half], fmaxf(scores_[4 * j + 2 * half], scores_[4 * j + 2 * half + 1]));
      above = above || !(tops[half] * scale_ - shift_[half] <= kSlack);
    }
    maxima_.see(tops);
    if (__any_sync(0xffffffffU, above)) shift_up(tops);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float part[4] = {};
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& x = scores_[4 * j + 2 * half + c];
          x = ptx::exp2_approx(x * scale_ - shift_[half]);
          part[j % 2 * 2 + c] += x;
        }
      row_sum_[half] += (part[0] + part[1]) + (part[2] + part[3]);
    }
  }

  // Raises the shift to the rows' maximum, and scales the sums so far accordingly. A tile's first block
  // always comes here. Every row sees a key of every causal block, so the maximum is finite unless scores are
  // not.
  __device__ __forceinline__ void shift_up(const float (&tops)[2]) {
    const bool first = shift_[0] == -INFINITY;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = tops[half];
      top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 2));
      const float shift = fmaxf(top * scale_, shift_[half]),
                  correction = ptx::exp2_approx(shift_[half] - shift);
      shift_[half] = shift;
      if (first) continue;  // all sums are zero
      row_sum_[half] *= correction;
#pragma unroll
      for (int j = 0; j < kDHead / 8; ++j) {
        out_[4 * j + 2 * half] *= correction;
        out_[4 * j + 2 * half + 1] *= correction;
      }
    }
  }

  __device__ __forceinline__ void end(const QueryTile& tile) {
    const auto thread = static_cast<int>(ptx::opaque(threadIdx.x)), lane = thread % 32;
    const int64_t stride = static_cast<int64_t>(p_.n_heads) * kDHead;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = row_sum_[half];
      sum += __shfl_xor_sync(0xffffffffU, sum, 1);
      sum += __shfl_xor_sync(0xffffffffU, sum, 2);
      const int row = thread / 32 % 4 * 16 + lane / 4 + half * 8;
      maxima_.end_row(tile, row, shift_[half], sum);
      const float inverse = __fdividef(1.0F, sum);
      auto* o = static_cast<__nv_bfloat16*>(p_.out) +
                (p_.row + static_cast<int64_t>(tile.row) * kTile + row) * stride + tile.head * kDHead;
      // Two lanes exchange halves of two column groups, so that each holds four columns of one group and
      // whole sectors are written.
      const int odd = lane % 2, column = lane % 4 * 2 + odd * 6;
#pragma unroll
      for (int j = 0; j < kDHead / 8; j += 2) {
        const uint32_t first = ptx::pack_bf16(out_[4 * j + 2 * half] * inverse,
                                              out_[4 * j + 2 * half + 1] * inverse),
                       second = ptx::pack_bf16(out_[4 * j + 4 + 2 * half] * inverse,
                                               out_[4 * j + 5 + 2 * half] * inverse),
                       other = __shfl_xor_sync(0xffffffffU, odd != 0 ? first : second, 1);
        // Streaming stores: nothing reads the outputs soon, so they need not push keys and values out of L2.
        if (row < n_queries(tile))
          __stcs(reinterpret_cast<uint2*>(o + j * 8 + column),
                 odd != 0 ? make_uint2(other, second) : make_uint2(first, other));
      }
    }
  }

  const PrefillSm90Params& p_;
  int consumer_;
  uint32_t full_k_, full_entry_;  // addresses
  ptx::SharedOperand keys_;
  float scale_;
  [[no_unique_address]] Maxima maxima_;
  uint32_t n_entries_ = 0, next_tile_ = 0;

  // State of the tile.
  uint32_t q_[kDSteps][4];
  float scores_[32];
  float out_[kDHead / 2];
  float shift_[2], row_sum_[2];
};

}  // namespace seer::cuda
