// The consumers: a warpgroup each, products on the tensor cores and online softmax between them.
#pragma once

#include <cuda_bf16.h>

#include <cmath>

#include "kernels/cuda/attention/sparse_prefill/ring.cuh"
#include "kernels/cuda/ptx/mbarrier.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/shared.cuh"
#include "kernels/cuda/ptx/tma.cuh"
#include "kernels/cuda/ptx/wgmma.cuh"

namespace seer::cuda {

inline constexpr int kTurnBarrier = 3;  // and 4: behind the block's and the consumers' own
inline constexpr float kSlack = 8.0F;   // probabilities of up to 2^8 lose nothing in bf16 and float32

// One warpgroup, which computes one tile of every item.
template <int kDHead>
class Consumer {
  using Shape = WgmmaShape<kDHead>;
  static constexpr int kSlots = Shape::kSlots, kDSteps = kDHead / 16;
  using Barriers = WgmmaBarriers<kDHead>;

 public:
  __device__ Consumer(const WgmmaPrefillParams& p, Barriers& barriers, uint32_t shared_k, uint32_t shared_v,
                      int consumer)
      : p_(p),
        barriers_(barriers),
        shared_k_(shared_k),
        shared_v_(shared_v),
        consumer_(consumer),
        warp_(static_cast<int>(threadIdx.x) / 32 % 4),
        lane_(static_cast<int>(threadIdx.x) % 32),
        scale_(p.scale * 1.4426950408889634F) {}  // exp(x) = 2^(x log2 e)

  __device__ void run() {
    const Items items(p_);
    if (consumer_ == 1) ptx::give_turn<kTurnBarrier>();  // consumer 0 begins
    for (int n = 0;; ++n) {
      ptx::mbarrier_wait(address(barriers_.full_item[n % 2]), n / 2 % 2);
      int i = 0;
      if (lane_ == 0) {
        i = barriers_.items[n % 2];
        ptx::mbarrier_arrive(address(barriers_.empty_item[n % 2]));
      }
      i = __shfl_sync(0xffffffffU, i, 0);
      if (i < 0) return;
      const Item item = items.at(p_, i);
      count_ = Item::pick(item.count, consumer_);
      if (count_ == 0) {
        pass(item.total());
        continue;
      }
      begin(item);
      compute();
      end();
      pass(item.total() - count_ - n_passed_);
    }
  }

 private:
  // Blocks k and, in steps of two, k + 1 of the list.
  struct Step {
    Cursor<kSlots> at[2];
    int k = 0;
  };

  __device__ static uint32_t address(const uint64_t& barrier) { return ptx::shared_address(&barrier); }
  __device__ void arrive(const uint64_t& barrier) const {
    if (lane_ == 0) ptx::mbarrier_arrive(address(barrier));
  }

  // Passes by n tiles for the other consumer alone.
  __device__ void pass(int n_tiles) {
    for (; n_tiles > 0; --n_tiles) {
      ptx::mbarrier_wait(address(barriers_.full_k[cursor_.slot]), cursor_.parity);
      arrive(barriers_.empty_k[cursor_.slot]);
      ptx::mbarrier_wait(address(barriers_.full_v[cursor_.slot]), cursor_.parity);
      arrive(barriers_.empty_v[cursor_.slot]);
      cursor_.next();
    }
  }

  __device__ __forceinline__ void begin(const Item& item) {
    head_ = Item::pick(item.head, consumer_);
    token_ = static_cast<int64_t>(Item::pick(item.row, consumer_)) * kTile;
    n_queries_ = static_cast<int>(min(static_cast<int64_t>(kTile), p_.n_tokens - token_));
    n_shared_ = item.n_shared;
    n_both_private_ = item.both_private();
    n_turns_ = min(item.count[0], item.count[1]);
    n_passed_ = 0;
    // Lists ascend within their two parts, so that the diagonal block, the last of all, ends one of them.
    const auto diagonal = static_cast<int>((p_.start + token_) / kTile);
    k_diagonal_ = count_ - 1;
    if (item.block(consumer_, k_diagonal_) != diagonal) k_diagonal_ = n_shared_ - 1;
    if (k_diagonal_ >= 0 && item.block(consumer_, k_diagonal_) != diagonal) k_diagonal_ = -1;

    // This lane's rows of the queries, straight into wgmma's layout.
    const int64_t stride = static_cast<int64_t>(p_.n_heads) * kDHead;
    const auto* in = static_cast<const __nv_bfloat16*>(p_.q) + (p_.row + token_) * stride + head_ * kDHead;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = min(warp_ * 16 + lane_ / 4 + half * 8, n_queries_ - 1);
#pragma unroll
      for (int d = 0; d < kDSteps; ++d) {
        const __nv_bfloat16* at = in + row * stride + d * 16 + lane_ % 4 * 2;
        q_[d][half] = *reinterpret_cast<const uint32_t*>(at);
        q_[d][half + 2] = *reinterpret_cast<const uint32_t*>(at + 8);
      }
    }
    row_max_[0] = row_max_[1] = -INFINITY;
    row_sum_[0] = row_sum_[1] = 0.0F;
#pragma unroll
    for (float& x : out_) x = 0.0F;
  }

  // A step takes two of the blocks that both consumers want, else one: two give the softmax twice as many
  // independent instructions, but the ring is too short for two tiles that only one consumer wants.
  __device__ __forceinline__ void compute() {
    const int n_double = n_shared_ / 2 * 2;
    int k = 0;
    if (n_double > 0) {
      step<0, 2>(0);
      for (k = 2; k < n_double; k += 2) step<2, 2>(k);
      if (k == count_) {
        step<2, 0>(k);
        return;
      }
      step<2, 1>(k++);
    } else {
      step<0, 1>(k++);
    }
    for (; k < count_; ++k) step<1, 1>(k);
    step<1, 0>(k);
  }

  // The scores of kNow blocks from k on, and beside their softmax the values of the kLast blocks before.
  template <int kLast, int kNow>
  __device__ __forceinline__ void step(int k) {
    Step now;
    if constexpr (kNow > 0) {
      const int between = n_between(k);
      n_passed_ += between;
      pass(between);
      now.k = k;
#pragma unroll
      for (int b = 0; b < kNow; ++b) {
        now.at[b] = cursor_;
        cursor_.next();
      }
      wait_for_turn(k);
      start_scores<kNow>(now);
    }
    if constexpr (kLast > 0) start_values<kLast>();
    if constexpr (kNow > 0) {
      give_turn(k);
      ptx::wgmma_wait<(kLast > 0 ? 1 : 0)>();  // the scores
#pragma unroll
      for (int b = 0; b < kNow; ++b) {
        ptx::pin_registers(scores_[b]);
        arrive(barriers_.empty_k[now.at[b].slot]);
      }
      softmax<kNow>(k);
      // The wait for the values would otherwise be moved in front of the softmax.
#pragma unroll
      for (int b = 0; b < kNow; ++b) ptx::pin_registers(scores_[b]);
    }
    if constexpr (kLast > 0) {
      ptx::wgmma_wait<0>();
      ptx::pin_registers(out_);
#pragma unroll
      for (int b = 0; b < kLast; ++b) arrive(barriers_.empty_v[last_.at[b].slot]);
      if constexpr (kNow > 0) rescale();
    }
    if constexpr (kNow > 0) pack<kNow>();
    last_ = now;
  }

  // How many tiles of the other consumer lie between this one's blocks k - 1 and k.
  __device__ int n_between(int k) const {
    const int j = k - n_shared_;
    if (j < 0 || j > n_both_private_ || n_both_private_ == 0) return 0;
    return consumer_ == 0 ? (j > 0 ? 1 : 0) : (j < n_both_private_ ? 1 : 0);
  }

  // Steps that both consumers have: they take turns at the tensor cores, so that one's softmax runs beside
  // the other's products instead of both waiting for products and then for each other.
  __device__ void wait_for_turn(int k) const {
    if (k >= n_turns_) return;
    if (consumer_ == 0) {
      ptx::wait_for_turn<kTurnBarrier>();
    } else {
      ptx::wait_for_turn<kTurnBarrier + 1>();
    }
  }
  __device__ void give_turn(int k) const {
    if (k >= n_turns_) return;
    if (consumer_ == 0) {
      ptx::give_turn<kTurnBarrier + 1>();
    } else {
      ptx::give_turn<kTurnBarrier>();
    }
  }

  template <int kBlocks>
  __device__ __forceinline__ void start_scores(const Step& now) {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b)
      ptx::mbarrier_wait(address(barriers_.full_k[now.at[b].slot]), now.at[b].parity);
    ptx::wgmma_fence();
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      const uint64_t keys = ptx::shared_operand(shared_k_ + now.at[b].slot * Shape::kTileBytes);
#pragma unroll
      for (int d = 0; d < kDSteps; ++d)
        ptx::wgmma_64x64x16<false>(scores_[b], q_[d],
                                   ptx::advance(keys, d / 4 * Shape::kPanelBytes + d % 4 * 32), d > 0);
    }
    ptx::wgmma_commit();
  }

  template <int kBlocks>
  __device__ __forceinline__ void start_values() {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      ptx::mbarrier_wait(address(barriers_.full_v[last_.at[b].slot]), last_.at[b].parity);
      if (last_.k + b == k_diagonal_ && n_queries_ < kTile) clear_unwritten(last_.at[b].slot);
    }
    ptx::wgmma_fence();
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      const uint64_t values =
          ptx::shared_operand(shared_v_ + last_.at[b].slot * Shape::kTileBytes, Shape::kPanelBytes);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if constexpr (kDHead == 128) {
          ptx::wgmma_64x128x16<true>(out_, probabilities_[b][i], ptx::advance(values, i * 2048), true);
        } else {
          ptx::wgmma_64x64x16<true>(out_, probabilities_[b][i], ptx::advance(values, i * 2048), true);
        }
      }
    }
    ptx::wgmma_commit();
  }

  // Nothing behind the prompt's last token has been written, and 0 * NaN is NaN.
  __device__ void clear_unwritten(uint32_t slot) const {
    const uint32_t tile = shared_v_ + slot * Shape::kTileBytes;
    const int n_chunks = (kTile - n_queries_) * 8;  // of a panel, 16 bytes each
    for (int j = static_cast<int>(threadIdx.x) % 128; j < n_chunks * Shape::kPanels; j += 128)
      ptx::store_zeros_16(tile + j / n_chunks * Shape::kPanelBytes + (n_queries_ * 8 + j % n_chunks) * 16);
    ptx::fence_async_proxy();
    if (consumer_ == 0) {
      ptx::warpgroup_barrier<1>();
    } else {
      ptx::warpgroup_barrier<2>();
    }
  }

  // Online softmax: scores become probabilities in place; what was summed before shrinks by the correction.
  template <int kBlocks>
  __device__ __forceinline__ void softmax(int k) {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b)
      if (k + b == k_diagonal_) {
#pragma unroll
        for (int j = 0; j < 32; ++j)
          if (j / 4 * 8 + lane_ % 4 * 2 + j % 2 > warp_ * 16 + lane_ / 4 + j % 4 / 2 * 8)
            scores_[b][j] = -INFINITY;
      }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float tops[2] = {row_max_[half], -INFINITY};
#pragma unroll
      for (int b = 0; b < kBlocks; ++b)
#pragma unroll
        for (int j = 0; j < 8; ++j)
          tops[j % 2] =
              fmaxf(tops[j % 2], fmaxf(scores_[b][4 * j + 2 * half], scores_[b][4 * j + 2 * half + 1]));
      float top = fmaxf(tops[0], tops[1]);
      top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 2));
      // Every row sees a key of every causal block, so `top` is finite, unless the scores are not. The shift
      // only has to keep 2^x in range: while the maximum grows by less than 2^kSlack, it stays, and what was
      // summed needs no correction.
      correction_[half] = 1.0F;
      if ((top - row_max_[half]) * scale_ > kSlack) {
        correction_[half] = ptx::exp2_approx((row_max_[half] - top) * scale_);
        row_max_[half] = top;
      }
      const float shift = row_max_[half] * scale_;
      float sums[4] = {};
#pragma unroll
      for (int b = 0; b < kBlocks; ++b)
#pragma unroll
        for (int j = 0; j < 8; ++j)
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            float& x = scores_[b][4 * j + 2 * half + c];
            x = ptx::exp2_approx(x * scale_ - shift);
            sums[j % 2 * 2 + c] += x;
          }
      row_sum_[half] = row_sum_[half] * correction_[half] + ((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
  }

  template <int kBlocks>
  __device__ __forceinline__ void pack() {
#pragma unroll
    for (int b = 0; b < kBlocks; ++b)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int j = 8 * i + r / 2 * 4 + r % 2 * 2;
          probabilities_[b][i][r] = ptx::pack_bf16(scores_[b][j], scores_[b][j + 1]);
        }
  }

  __device__ __forceinline__ void rescale() {
    if (!__any_sync(0xffffffffU, correction_[0] != 1.0F || correction_[1] != 1.0F)) return;
#pragma unroll
    for (int j = 0; j < kDHead / 2; ++j) out_[j] *= correction_[j % 4 / 2];
  }

  __device__ __forceinline__ void end() {
    const int64_t stride = static_cast<int64_t>(p_.n_heads) * kDHead;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = row_sum_[half];
      sum += __shfl_xor_sync(0xffffffffU, sum, 1);
      sum += __shfl_xor_sync(0xffffffffU, sum, 2);
      const int row = warp_ * 16 + lane_ / 4 + half * 8;
      if (row >= n_queries_) continue;
      const float inverse = 1.0F / sum;
      auto* o = static_cast<__nv_bfloat16*>(p_.out) + (p_.row + token_ + row) * stride + head_ * kDHead;
#pragma unroll
      for (int j = 0; j < kDHead / 8; ++j)
        *reinterpret_cast<uint32_t*>(o + j * 8 + lane_ % 4 * 2) =
            ptx::pack_bf16(out_[4 * j + 2 * half] * inverse, out_[4 * j + 2 * half + 1] * inverse);
    }
  }

  const WgmmaPrefillParams& p_;
  Barriers& barriers_;
  uint32_t shared_k_, shared_v_;
  int consumer_, warp_, lane_;
  float scale_;
  Cursor<kSlots> cursor_;  // the place that is passed next

  // Of the item.
  int head_, n_queries_, count_, n_shared_, n_both_private_, n_turns_, n_passed_, k_diagonal_;
  int64_t token_;  // the tile's first, of the segment
  Step last_;
  uint32_t q_[kDSteps][4];
  float scores_[2][32];
  uint32_t probabilities_[2][4][4];
  float out_[kDHead / 2];
  float row_max_[2], row_sum_[2], correction_[2];
};

}  // namespace seer::cuda
