// Turns plain bf16 weights into codes and scales, once while a model is loaded. Its time is that of reading
// and writing memory.
#include <cuda_fp8.h>

#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/input_codes.h"
#include "kernels/quantise.h"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kThreads = 256;

// Returns the larger of `most` and the magnitude of `value`. It is infinite once a value was NaN or infinite.
__device__ __forceinline__ float larger(float most, float value) {
  return fmaxf(most, isfinite(value) ? fabsf(value) : INFINITY);
}

// Returns the scale for the largest magnitude that larger() found.
__device__ __forceinline__ float scale_of(float most, float largest_code) {
  return quantised_scale(isfinite(most) ? most : NAN, largest_code);
}

// Each block takes a row of d_in values, a multiple of 8.
__global__ void __launch_bounds__(kThreads)
    quantise_e4m3_kernel(uint8_t* codes, int64_t pitch, float* scales, const Bf16* weight, int64_t d_in) {
  __shared__ float warps[kThreads / 32];
  const int64_t row = blockIdx.x;
  const Bf16* values = weight + row * d_in;
  float most = 0.0F;
  for (int64_t i = threadIdx.x; i < d_in; i += kThreads) most = larger(most, __bfloat162float(values[i]));
  most = warp_max(most);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = most;
  __syncthreads();
  for (const float m : warps) most = fmaxf(most, m);
  const float scale = scale_of(most, kLargestE4M3);
  if (threadIdx.x == 0) scales[row] = scale;
  for (int64_t i = threadIdx.x; i < pitch; i += kThreads) {
    const float code = i < d_in && !isnan(scale) ? __fdiv_rn(__bfloat162float(values[i]), scale) : 0.0F;
    codes[row * pitch + i] = __nv_cvt_float_to_fp8(code, __NV_SATFINITE, __NV_E4M3);
  }
}

// Each warp takes a group of inputs. codes is [d_out, d_in / 2], scales is [n_groups, d_out].
__global__ void __launch_bounds__(kThreads)
    quantise_int4_kernel(uint8_t* codes, float* scales, const Bf16* weight, int64_t d_out, int64_t d_in,
                         int64_t group) {
  const int64_t n_groups = d_in / group, lane = threadIdx.x % 32;
  const int64_t item = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  if (item >= d_out * n_groups) return;
  const Bf16* values = weight + item * group;  // the groups of a row are adjacent, and so are rows
  float most = 0.0F;
  for (int64_t i = lane; i < group; i += 32) most = larger(most, __bfloat162float(values[i]));
  const float scale = scale_of(warp_max(most), kInt4Steps);
  if (lane == 0) scales[item % n_groups * d_out + item / n_groups] = scale;
  for (int64_t i = 2 * lane; i < group; i += 64) {
    const uint32_t low = int4_code(__bfloat162float(values[i]), scale);
    const uint32_t high = int4_code(__bfloat162float(values[i + 1]), scale);
    codes[(item * group + i) / 2] = static_cast<uint8_t>(low | high << 4U);
  }
}

}  // namespace

cudaError_t launch_quantise_e4m3(void* codes, int64_t pitch, float* scale, const void* weight, int64_t d_out,
                                 int64_t d_in, cudaStream_t stream) {
  quantise_e4m3_kernel<<<static_cast<unsigned>(d_out), kThreads, 0, stream>>>(
      static_cast<uint8_t*>(codes), pitch, scale, static_cast<const Bf16*>(weight), d_in);
  return cudaPeekAtLastError();
}

cudaError_t launch_quantise_int4(void* codes, float* scale, const void* weight, int64_t d_out, int64_t d_in,
                                 int64_t group, cudaStream_t stream) {
  constexpr int64_t kWarps = kThreads / 32;
  const int64_t n_blocks = (d_out * (d_in / group) + kWarps - 1) / kWarps;
  quantise_int4_kernel<<<static_cast<unsigned>(n_blocks), kThreads, 0, stream>>>(
      static_cast<uint8_t*>(codes), scale, static_cast<const Bf16*>(weight), d_out, d_in, group);
  return cudaPeekAtLastError();
}

}  // namespace seer::cuda
