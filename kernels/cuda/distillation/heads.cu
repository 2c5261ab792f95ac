// Inputs of gates that learn, and rotations: a thread block takes one row, or one row of one head.
#include <cuda_bf16.h>

#include "kernels/cuda/distillation/learn.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kMostGroup = 128;

using Bf16 = __nv_bfloat16;

// Grid: rows, heads.
__global__ void __launch_bounds__(kThreads) split_heads_kernel(const SplitHeadsParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const Bf16* in = static_cast<const Bf16*>(p.in) + (row * p.n_heads + head) * p.width;
  float* out = p.out + (head * p.n_rows + row) * p.width;
  for (int64_t c = threadIdx.x; c < p.width; c += kThreads) out[c] = __bfloat162float(in[c]);
}

// Writes to scales[g] the number that normalises head g, for each head of the group. A warp takes a head.
__device__ void scale_heads(float* scales, const Bf16* heads, const GroupQueriesParams& p) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  for (int g = warp; g < p.group; g += kThreads / 32) {
    float squares = 0.0F;
    for (int d = lane; d < p.d_head; d += 32) {
      const float x = __bfloat162float(heads[g * p.d_head + d]);
      squares += x * x;
    }
    squares = warp_sum(squares);
    if (lane == 0) scales[g] = 1.0F / sqrtf(squares / static_cast<float>(p.d_head) + p.eps);
  }
}

// Grid: rows, KV heads.
__global__ void __launch_bounds__(kThreads) group_queries_kernel(const GroupQueriesParams p) {
  __shared__ float scales[kMostGroup];
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t row = blockIdx.x, kv_head = blockIdx.y;
  const int width = p.group * p.d_head;
  const Bf16* heads = static_cast<const Bf16*>(p.qkv) + p.rows.position(row) * p.qkv_width + kv_head * width;
  const auto* norm = static_cast<const Bf16*>(p.norm);
  if (norm != nullptr) scale_heads(scales, heads, p);
  __syncthreads();
  const auto value = [&](int g, int d) {
    const float x = __bfloat162float(heads[g * p.d_head + d]);
    return norm == nullptr ? x : x * scales[g] * __bfloat162float(norm[d]);
  };
  const int64_t at = kv_head * p.rows.n + row;
  if (!p.mean) {
    for (int c = static_cast<int>(threadIdx.x); c < width; c += kThreads)
      p.out[at * width + c] = value(c / p.d_head, c % p.d_head);
    return;
  }
  for (int d = static_cast<int>(threadIdx.x); d < p.d_head; d += kThreads) {
    float sum = 0.0F;
    for (int g = 0; g < p.group; ++g) sum += value(g, d);
    p.out[at * p.d_head + d] = sum / static_cast<float>(p.group);
  }
}

// Grid: rows, heads.
__global__ void __launch_bounds__(kThreads) rotate_heads_kernel(const RotateHeadsParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t row = blockIdx.x, head = blockIdx.y;
  float* x = p.x + (head * p.n_rows + row) * p.width;
  for (int i = static_cast<int>(threadIdx.x); i < p.half; i += kThreads) {
    const float cos = p.cos[row * p.half + i], turn = p.sin[row * p.half + i], sin = p.back ? -turn : turn;
    const float a = x[i], b = x[i + p.half];
    x[i] = a * cos - b * sin;
    x[i + p.half] = b * cos + a * sin;
  }
}

dim3 grid(int64_t x, int64_t y) { return {static_cast<unsigned>(x), static_cast<unsigned>(y)}; }

}  // namespace

cudaError_t launch_split_heads(const SplitHeadsParams& params, cudaStream_t stream) {
  return launch(split_heads_kernel, grid(params.n_rows, params.n_heads), kThreads, 0, stream, params);
}

cudaError_t launch_group_queries(const GroupQueriesParams& params, cudaStream_t stream) {
  if (params.group > kMostGroup) return cudaErrorInvalidValue;
  return launch(group_queries_kernel, grid(params.rows.n, params.n_kv_heads), kThreads, 0, stream, params);
}

cudaError_t launch_rotate_heads(const RotateHeadsParams& params, cudaStream_t stream) {
  return launch(rotate_heads_kernel, grid(params.n_rows, params.n_heads), kThreads, 0, stream, params);
}

}  // namespace seer::cuda
