// Eight bf16 values as one 16-byte access.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace seer::cuda {

struct alignas(16) Bf16x8 {
  __nv_bfloat162 pair[4];

  __device__ void to_floats(float (&x)[8]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 f = __bfloat1622float2(pair[i]);
      x[2 * i] = f.x;
      x[2 * i + 1] = f.y;
    }
  }
  __device__ static Bf16x8 from_floats(const float (&x)[8]) {
    Bf16x8 v;
#pragma unroll
    for (int i = 0; i < 4; ++i) v.pair[i] = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
    return v;
  }
};

__device__ __forceinline__ Bf16x8 load8(const void* p) { return *static_cast<const Bf16x8*>(p); }
__device__ __forceinline__ void store8(void* p, const Bf16x8& v) { *static_cast<Bf16x8*>(p) = v; }

// For weights, which are read only once: the load bypasses L1.
__device__ __forceinline__ Bf16x8 load8_streaming(const void* p) {
  const uint4 raw = __ldcs(static_cast<const uint4*>(p));
  return *reinterpret_cast<const Bf16x8*>(&raw);
}

// Returns the sum over the warp, in every lane.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) x += __shfl_xor_sync(0xffffffffU, x, mask);
  return x;
}

// Returns the largest value of kLanes consecutive lanes, in each of them.
template <int kLanes = 32>
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int mask = kLanes / 2; mask > 0; mask /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffU, x, mask));
  return x;
}

__device__ __forceinline__ float largest_magnitude(const Bf16x8& x) {
  const __nv_bfloat162 largest = __hmax2(__hmax2(__habs2(x.pair[0]), __habs2(x.pair[1])),
                                         __hmax2(__habs2(x.pair[2]), __habs2(x.pair[3])));
  return fmaxf(__low2float(largest), __high2float(largest));
}

__device__ __forceinline__ float largest_magnitude(const float (&x)[8]) {
  float largest = 0.0F;
#pragma unroll
  for (const float e : x) largest = fmaxf(largest, fabsf(e));
  return largest;
}

// Returns the sum over the block, in every thread. `shared` must have one float for each warp.
template <int kThreads>
__device__ __forceinline__ float block_sum(float x, float* shared) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  x = warp_sum(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  float total = 0.0F;
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) total += shared[w];
  return total;
}

// Returns the largest of values that are not negative, over the block, in every thread. `shared` must have
// one float for each warp.
template <int kThreads>
__device__ __forceinline__ float block_max(float x, float* shared) {
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  float most = 0.0F;
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) most = fmaxf(most, shared[w]);
  return most;
}

}  // namespace seer::cuda
