// Writes the largest scores of the rows of a consumer's tile. The Consumer of prefill_sm90 has such an object
// as a member.
#pragma once

#include "kernels/cuda/attention/block_maxima/params.h"
#include "kernels/cuda/attention/prefill_sm90/items.cuh"

namespace seer::cuda {

// A quad of lanes has two rows. Its even lanes keep maxima of the first row, and its odd lanes maxima of the
// second. Of eight blocks, the first two lanes keep the first four, and the other two keep the last four. So
// two lanes write a sector of 32 bytes for each row. NoMaxima says what the members mean.
class MaximaRowsSm90 {
  static_assert(kMaximaOfSector == 8);

 public:
  // The object keeps references to both, which are parameters of the kernel.
  __device__ MaximaRowsSm90(const PrefillSm90Params& p, const BlockMaxima& out) : p_(p), out_(out) {}

  __device__ __forceinline__ void see(const float (&tops)[2]) {
    tops_[0] = tops[0];
    tops_[1] = tops[1];
  }

  // While this runs, the tensor cores multiply by the block's values; otherwise the warp would only wait for
  // them.
  __device__ __forceinline__ void keep(uint32_t tile, bool last) {
    const uint32_t lane = threadIdx.x % 32;
    const bool odd = lane % 2 != 0;
    float top = fmaxf(odd ? tops_[1] : tops_[0], __shfl_xor_sync(0xffffffffU, odd ? tops_[0] : tops_[1], 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 2));
    if (n_ / 4 % 2 == lane / 2 % 2) {
#pragma unroll
      for (uint32_t i = 0; i < 4; ++i)
        if (n_ % 4 == i) kept_[i] = top;
    }
    if (last || n_ % 8 == 7) write(QueryTile::unpack(tile));
    n_ = last ? 0 : n_ + 1;
  }

  __device__ __forceinline__ void end_row(const QueryTile& tile, int row, float shift, float sum) const {
    const int64_t token = static_cast<int64_t>(tile.row) * kTile + row;
    if (threadIdx.x % 4 == 0 && token < p_.n_tokens)
      out_.log_sums[tile.head * p_.n_tokens + token] = (shift + __log2f(sum)) * 0.6931471805599453F;
  }

 private:
  // Writes the maxima of up to eight blocks, of which block n_ of the tile is the last.
  __device__ __forceinline__ void write(const QueryTile& tile) const {
    const uint32_t thread = threadIdx.x % 128, lane = thread % 32;
    const int64_t token = static_cast<int64_t>(tile.row) * kTile + thread / 32 * 16 + lane / 4 + lane % 2 * 8;
    if (token >= p_.n_tokens) return;
    float* at =
        out_.maxima + (tile.head * p_.n_tokens + token) * out_.row_capacity + (n_ / 8 * 8 + lane / 2 % 2 * 4);
    // Streaming stores, so that keys and values stay in L2.
    __stcs(reinterpret_cast<float4*>(at),
           make_float4(kept_[0] * p_.scale, kept_[1] * p_.scale, kept_[2] * p_.scale, kept_[3] * p_.scale));
  }

  const PrefillSm90Params& p_;
  const BlockMaxima& out_;
  uint32_t n_ = 0;  // blocks of the tile so far
  float tops_[2] = {}, kept_[4] = {};
};

}  // namespace seer::cuda
