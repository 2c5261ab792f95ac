// The last steps of a gate query and of a gate key: the norm and the rotation.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/vector.cuh"
#include "kernels/decode_gate.h"

namespace seer::cuda {

// Normalises and rotates x [kDHead], and calls put(i, a, b) for each i below kDHead / 2 with components i and
// i + kDHead / 2 of the result. One warp does this together. `norm` [kDHead] is null if there is no norm.
// `cos` and `sin` [kDHead / 2] are null if the gate does not rotate. put() may write to x.
template <int kDHead, class Put>
__device__ __forceinline__ void normalise_and_rotate(const float* x, const __nv_bfloat16* norm,
                                                     const float* cos, const float* sin, int lane,
                                                     const Put& put) {
  constexpr int kHalf = kDHead / 2, kPairs = (kHalf + 31) / 32;
  float low[kPairs], high[kPairs], squares = 0.0F;
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int pair = i * 32 + lane;
    low[i] = pair < kHalf ? x[pair] : 0.0F;
    high[i] = pair < kHalf ? x[pair + kHalf] : 0.0F;
    squares += low[i] * low[i] + high[i] * high[i];
  }
  const float root = norm == nullptr ? 1.0F : rsqrtf(warp_sum(squares) / kDHead + DecodeGateView::kEpsilon);
#pragma unroll
  for (int i = 0; i < kPairs; ++i) {
    const int pair = i * 32 + lane;
    if (pair >= kHalf) continue;
    float a = low[i] * root, b = high[i] * root;
    if (norm != nullptr) {
      a *= __bfloat162float(norm[pair]);
      b *= __bfloat162float(norm[pair + kHalf]);
    }
    const float c = cos == nullptr ? 1.0F : cos[pair], s = cos == nullptr ? 0.0F : sin[pair];
    put(pair, a * c - b * s, b * c + a * s);
  }
}

}  // namespace seer::cuda
