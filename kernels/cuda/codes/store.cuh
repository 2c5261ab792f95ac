// The outputs of product.cu. The warps' partial sums are added up, scaled, and stored in the way that the
// product asks for.
#pragma once

#include "kernels/cuda/codes/stage.cuh"

namespace seer::cuda {
namespace {

// Returns one output of a tile: the sum of the warps' parts.
__device__ __forceinline__ float total(const float* partial, int n_rows, int column, int row) {
  float sum = 0.0F;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) sum += partial[(w * n_rows + column) * kPartialPitch + row];
  return sum;
}

// Stores the output of row r of the weight's tile for row `column` of the inputs. (The rows of the inputs are
// the columns of the product.)
__device__ __forceinline__ void store_output(const float* partial, float factor, int tile, int column, int r,
                                             bool scaled, const CodeRowsParams& p) {
  const auto value = [&](int row_in_tile, int64_t row) {
    float v = total(partial, p.n, column, row_in_tile) * factor;
    if (!scaled) v *= p.w.scale[row];
    return p.bias == nullptr ? v : v + __bfloat162float(static_cast<const Bf16*>(p.bias)[row]);
  };
  if (p.swiglu) {
    const int64_t half = p.w.d_out / 2, unit = static_cast<int64_t>(tile) * 8 + r;
    if (r >= 8 || unit >= half) return;
    const float gate = value(r, unit), up = value(r + 8, unit + half);
    static_cast<Bf16*>(p.out)[column * half + unit] = __float2bfloat16(gate * up / (1.0F + __expf(-gate)));
    return;
  }
  const int64_t row = static_cast<int64_t>(tile) * kTileRows + r;
  if (row >= p.w.d_out) return;
  const float v = value(r, row);
  const int64_t at = column * p.w.d_out + row;
  if (p.float_out) {
    static_cast<float*>(p.out)[at] = v;
  } else {
    Bf16* out = static_cast<Bf16*>(p.out) + at;
    *out = __float2bfloat16(p.accumulate ? v + __bfloat162float(*out) : v);
  }
}

// Stores the outputs of n_tiles tiles: `tile`, `tile` + `step` and so on. The block's first call computes the
// scales of norms, and keeps them in `staging` for later calls.
__device__ __forceinline__ void store_tiles(const float* partial, Staging* staging, bool first_call, int tile,
                                            int step, int n_tiles, bool scaled, const CodeRowsParams& p) {
  const int n_outputs = n_tiles * p.n * kTileRows;
  for (int i = static_cast<int>(threadIdx.x); i < n_outputs; i += kThreads) {
    const int r = i % kTileRows, column = i / kTileRows % p.n, t = i / kTileRows / p.n;
    float factor = 1.0F;
    if (p.norm != nullptr) {
      factor = first_call ? norm_scale(*staging, column, p) : staging->factor[column];
      if (first_call && t == 0 && r == 0) staging->factor[column] = factor;
    }
    store_output(partial + t * partial_floats(p.n), factor, tile + t * step, column, r, scaled, p);
  }
}

}  // namespace
}  // namespace seer::cuda
