// Loads inputs and stores outputs, for the kernels for a few rows.
#pragma once

#include "kernels/cuda/few_rows/few_rows.h"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {

// Copies x to shared memory, and normalises it by the weights in `norm` if p.norm is set.
template <int kRows, int kThreads>
__device__ void stage_input(__nv_bfloat16* shared_x, const __nv_bfloat16* norm, float* warps,
                            const FewRowsParams& p) {
  for (int r = 0; r < kRows; ++r) {
    const __nv_bfloat16* x = static_cast<const __nv_bfloat16*>(p.x) + (r < p.n ? r : p.n - 1) * p.d_in;
    __nv_bfloat16* out = shared_x + r * p.d_in;
    float squares = 0.0F;
    for (int64_t k = threadIdx.x * 8; k < p.d_in; k += kThreads * 8) {
      const Bf16x8 v = load8(x + k);
      store8(out + k, v);
      if (p.norm == nullptr) continue;
      float f[8];
      v.to_floats(f);
#pragma unroll
      for (const float e : f) squares += e * e;
    }
    if (p.norm == nullptr) continue;
    const float scale = rsqrtf(block_sum<kThreads>(squares, warps) / static_cast<float>(p.d_in) + p.eps);
    for (int64_t k = threadIdx.x * 8; k < p.d_in; k += kThreads * 8) {
      float f[8], w[8];
      load8(out + k).to_floats(f);   // written by this thread itself
      load8(norm + k).to_floats(w);  // likewise
#pragma unroll
      for (int i = 0; i < 8; ++i) f[i] *= scale * w[i];
      store8(out + k, Bf16x8::from_floats(f));
    }
    __syncthreads();  // `warps` is written again
  }
  __syncthreads();
}

// Returns the number of outputs: with swiglu, half the weight's rows.
__device__ __forceinline__ int64_t few_rows_units(const FewRowsParams& p) {
  return p.swiglu ? p.d_out / 2 : p.d_out;
}

// Stores one output of all rows. One lane calls it.
template <int kRows>
__device__ __forceinline__ void store_unit(const float (&acc)[kRows], const float (&before)[kRows],
                                           int64_t unit, const FewRowsParams& p) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (r >= p.n) break;
    const int64_t at = r * few_rows_units(p) + unit;
    if (p.float_out) {
      static_cast<float*>(p.out)[at] = acc[r];
    } else {
      static_cast<__nv_bfloat16*>(p.out)[at] = __float2bfloat16(acc[r] + before[r]);
    }
  }
}

// Loads the values to which an accumulating launch adds; zeros for other launches. Call it before the
// products, so that they hide the load.
template <int kRows>
__device__ __forceinline__ void load_unit(float (&before)[kRows], int64_t unit, const FewRowsParams& p) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    before[r] = 0.0F;
    if (p.accumulate && r < p.n)
      before[r] = __bfloat162float(static_cast<const __nv_bfloat16*>(p.out)[r * few_rows_units(p) + unit]);
  }
}

}  // namespace seer::cuda
