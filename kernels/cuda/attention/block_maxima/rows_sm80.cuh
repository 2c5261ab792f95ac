// Writes the largest scores of the rows of a warp, for prefill_sm80_kernel().
#pragma once

#include <cstdint>

#include "kernels/cuda/attention/block_maxima/params.h"

namespace seer::cuda {

// A quad of lanes has two rows of each of the warp's tiles. Every lane keeps the maxima of two of eight
// blocks, so the quad writes a sector of 32 bytes for each row.
template <class Shape>
class MaximaRowsSm80 {
  static_assert(kMaximaOfSector == 8);

 public:
  static constexpr bool kWrites = true;
  using Out = BlockMaxima;
  static constexpr int kBlocks = kMaximaOfSector;  // blocks whose maxima are written together

  // `top` is the largest score of the lane's row `half` of the warp's tile m in a step of the block. If
  // `begins` is true, it is the block's first step.
  __device__ __forceinline__ void see(int m, int half, float top, int block, bool begins) {
    const auto b = static_cast<uint32_t>(block);
    const bool mine = b / 2 % 4 == threadIdx.x % 4;
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      float& kept = kept_[m][half][i];
      const float now = begins ? top : fmaxf(kept, top);
      kept = mine && b % 2 == i ? now : kept;
    }
  }

  // Writes the maxima of the group of kBlocks blocks to which `block` belongs, the last block that the tile
  // has seen. The tile begins with token `token` of the segment.
  __device__ __forceinline__ void write(const PrefillSm80Params& p, const BlockMaxima& out, int head,
                                        int64_t token, int n_queries, int block) const {
#pragma unroll
    for (int m = 0; m < Shape::kWarpTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const auto thread = static_cast<int>(threadIdx.x), lane = thread % 32;
        const int row = (thread / 32 * Shape::kWarpTiles + m) * 16 + lane / 4 + half * 8;
        if (row >= n_queries) continue;
        float* at = out.maxima + (head * p.n_tokens + token + row) * out.row_capacity +
                    (block / kBlocks * kBlocks + lane % 4 * 2);
        // Streaming stores, so that keys and values stay in L2.
        __stcs(reinterpret_cast<float2*>(at),
               make_float2(kept_[m][half][0] * p.scale, kept_[m][half][1] * p.scale));
      }
  }

  // Writes the row's log sum. `top` is the row's largest score, and `sum` its sum of exponentials relative to
  // that. All lanes of the row's quad call this.
  __device__ __forceinline__ void end_row(const PrefillSm80Params& p, const BlockMaxima& out, int head,
                                          int64_t token, float top, float sum) const {
    if (threadIdx.x % 4 == 0)
      out.log_sums[head * p.n_tokens + token] = top * p.scale + __log2f(sum) * 0.6931471805599453F;
  }

 private:
  float kept_[Shape::kWarpTiles][2][2] = {};
};

}  // namespace seer::cuda
