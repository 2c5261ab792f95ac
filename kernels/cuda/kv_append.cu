#include "kernels/cuda/kv_append.h"

#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;
constexpr int kThreads = 128;

__global__ void rope_table_kernel(const __grid_constant__ RopeTableParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= p.n_rows * p.half) return;
  const int64_t row = index / p.half;
  const int64_t position = p.positions == nullptr ? p.start + row * p.stride : p.positions[row];
  double sin = 0.0, cos = 0.0;
  sincos(static_cast<double>(position) * p.inv_freq[index % p.half], &sin, &cos);
  p.cos[index] = static_cast<float>(cos * p.scaling);
  p.sin[index] = static_cast<float>(sin * p.scaling);
}

// Rotates eight pairs (x[i], x[i + half]).
__device__ void rotate8(float (&low)[8], float (&high)[8], const float* cos, const float* sin) {
  float c[8], s[8];
  *reinterpret_cast<float4*>(c) = *reinterpret_cast<const float4*>(cos);
  *reinterpret_cast<float4*>(c + 4) = *reinterpret_cast<const float4*>(cos + 4);
  *reinterpret_cast<float4*>(s) = *reinterpret_cast<const float4*>(sin);
  *reinterpret_cast<float4*>(s + 4) = *reinterpret_cast<const float4*>(sin + 4);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float a = low[i], b = high[i];
    low[i] = a * c[i] - b * s[i];
    high[i] = b * c[i] + a * s[i];
  }
}

// Where head `slot` (queries, then keys, then values) of a token goes.
struct Target {
  Bf16* out;
  bool rotated;
};
__device__ Target target(const KvAppendParams& p, int slot, int64_t row, int page, int row_in_page) {
  if (slot < p.n_heads) return {static_cast<Bf16*>(p.q) + (row * p.n_heads + slot) * p.d_head, true};
  const bool is_key = slot < p.n_heads + p.n_kv_heads;
  const int head = slot - p.n_heads - (is_key ? 0 : p.n_kv_heads);
  const int64_t at =
      ((static_cast<int64_t>(page) * p.n_kv_heads + head) * p.page_tokens + row_in_page) * p.d_head;
  return {static_cast<Bf16*>(is_key ? p.k : p.v) + at, is_key};
}

// A thread holds eight pairs of one token at a time; a block handles one head of one page.
__global__ void __launch_bounds__(kThreads) prefill_append_kernel(const PrefillAppendParams p) {
  __shared__ float reduced[kThreads * 16];  // [token lanes][d_head]
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const KvAppendParams& c = p.common;
  const int half = c.d_head / 2, chunks = half / 8, n_lanes = kThreads / chunks;
  const int thread = static_cast<int>(threadIdx.x), chunk = thread % chunks, lane = thread / chunks;
  const int slot = static_cast<int>(blockIdx.x);
  const int64_t block = blockIdx.y, first = block * c.page_tokens;
  const int n_tokens = static_cast<int>(min(static_cast<int64_t>(c.page_tokens), p.n_tokens - first));
  const int page = p.page_table[p.start / c.page_tokens + block];
  const int64_t width = static_cast<int64_t>(c.n_heads + 2 * c.n_kv_heads) * c.d_head;

  float top[16], bottom[16], total[16] = {};
#pragma unroll
  for (int i = 0; i < 16; ++i) {
    top[i] = -INFINITY;
    bottom[i] = INFINITY;
  }
  for (int token = lane; lane < n_lanes && token < n_tokens; token += n_lanes) {
    const int64_t row = first + token;
    const Bf16* in =
        static_cast<const Bf16*>(c.qkv) + row * width + static_cast<int64_t>(slot) * c.d_head + chunk * 8;
    const Target to = target(c, slot, row, page, token);
    const Bf16x8 raw_low = load8(in), raw_high = load8(in + half);
    if (!to.rotated) {
      store8(to.out + chunk * 8, raw_low);
      store8(to.out + half + chunk * 8, raw_high);
      continue;
    }
    float low[8], high[8];
    raw_low.to_floats(low);
    raw_high.to_floats(high);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      top[i] = fmaxf(top[i], low[i]);
      top[i + 8] = fmaxf(top[i + 8], high[i]);
      bottom[i] = fminf(bottom[i], low[i]);
      bottom[i + 8] = fminf(bottom[i + 8], high[i]);
      total[i] += low[i];
      total[i + 8] += high[i];
    }
    rotate8(low, high, c.cos + row * half + chunk * 8, c.sin + row * half + chunk * 8);
    store8(to.out + chunk * 8, Bf16x8::from_floats(low));
    store8(to.out + half + chunk * 8, Bf16x8::from_floats(high));
  }

  if (p.pooled_q == nullptr || slot >= c.n_heads + c.n_kv_heads) return;
  const bool is_query = slot < c.n_heads;
  const GatePools pools = is_query ? p.q_pools : p.k_pools;
  const int n_pools = static_cast<int>(pools.max) + static_cast<int>(pools.min) + static_cast<int>(pools.avg);
  const int64_t pooled_row = is_query ? block * c.n_heads + slot : block * c.n_kv_heads + slot - c.n_heads;
  Bf16* pooled = static_cast<Bf16*>(is_query ? p.pooled_q : p.pooled_k) + pooled_row * n_pools * c.d_head;
  // Folds one statistic over the block's tokens and writes it, pools in the order max, min, avg.
  const auto fold = [&](const float(&x)[16], auto op, float scale) {
    __syncthreads();
    if (lane < n_lanes) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        reduced[lane * c.d_head + chunk * 8 + i] = x[i];
        reduced[lane * c.d_head + half + chunk * 8 + i] = x[i + 8];
      }
    }
    __syncthreads();
    for (int d = thread; d < c.d_head; d += kThreads) {
      float value = reduced[d];
      for (int l = 1; l < n_lanes; ++l) value = op(value, reduced[l * c.d_head + d]);
      pooled[d] = __float2bfloat16(value * scale);
    }
    pooled += c.d_head;
  };
  if (pools.max)
    fold(
        top, [](float a, float b) { return fmaxf(a, b); }, 1.0F);
  if (pools.min)
    fold(
        bottom, [](float a, float b) { return fminf(a, b); }, 1.0F);
  if (pools.avg)
    fold(
        total, [](float a, float b) { return a + b; }, 1.0F / static_cast<float>(n_tokens));
}

__global__ void __launch_bounds__(kThreads) decode_append_kernel(const DecodeAppendParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const KvAppendParams& c = p.common;
  const int half = c.d_head / 2, chunks = half / 8, n_slots = c.n_heads + 2 * c.n_kv_heads;
  const int64_t row = blockIdx.y;
  const int position = p.positions[row];
  const int page = p.tables[p.table_offsets[row] + position / c.page_tokens];
  const int index = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  const int slot = index / chunks, chunk = index % chunks;
  if (slot >= n_slots) return;
  const Bf16* in = static_cast<const Bf16*>(c.qkv) + row * n_slots * c.d_head + slot * c.d_head + chunk * 8;
  const Target to = target(c, slot, row, page, position % c.page_tokens);
  float low[8], high[8];
  load8(in).to_floats(low);
  load8(in + half).to_floats(high);
  if (to.rotated) rotate8(low, high, c.cos + row * half + chunk * 8, c.sin + row * half + chunk * 8);
  store8(to.out + chunk * 8, Bf16x8::from_floats(low));
  store8(to.out + half + chunk * 8, Bf16x8::from_floats(high));
}

}  // namespace

cudaError_t launch_rope_table(const RopeTableParams& params, cudaStream_t stream) {
  const int64_t n = params.n_rows * params.half;
  return launch(rope_table_kernel, dim3(static_cast<unsigned>((n + 255) / 256)), 256, 0, stream, params);
}

cudaError_t launch_prefill_append(const PrefillAppendParams& params, cudaStream_t stream) {
  const KvAppendParams& c = params.common;
  const dim3 grid(static_cast<unsigned>(c.n_heads + 2 * c.n_kv_heads),
                  static_cast<unsigned>((params.n_tokens + c.page_tokens - 1) / c.page_tokens));
  return launch(prefill_append_kernel, grid, kThreads, 0, stream, params);
}

cudaError_t launch_decode_append(const DecodeAppendParams& params, cudaStream_t stream) {
  const KvAppendParams& c = params.common;
  const int work = (c.n_heads + 2 * c.n_kv_heads) * (c.d_head / 16);
  const dim3 grid(static_cast<unsigned>((work + kThreads - 1) / kThreads), static_cast<unsigned>(params.n));
  const cudaError_t error = prefer_shared_memory(decode_append_kernel);
  if (error != cudaSuccess) return error;
  return launch(decode_append_kernel, grid, kThreads, 0, stream, params);
}

}  // namespace seer::cuda
