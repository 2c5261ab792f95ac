#include "kernels/cuda/kv_append.h"

#include <cassert>
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
  const int64_t position =
      p.positions == nullptr ? p.start + row * p.stride : p.positions[row] / p.stride * p.stride;
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

// Returns the number of lanes for a head's norm, a power of two, so that shuffles can add up its squares. A
// head of 96 has six chunks for eight lanes, two of which stay idle.
__host__ __device__ constexpr int span_of(int chunks) {
  int span = 1;
  while (span < chunks) span *= 2;
  return span;
}

// A thread's part of a head's norm: the weights for its eight channels and for their partners.
struct ThreadNorm {
  Bf16x8 low, high;

  ThreadNorm() = default;
  __device__ ThreadNorm(const HeadNormParams& p, bool is_query, int channel, int half)
      : low(load8(weights(p, is_query) + channel)), high(load8(weights(p, is_query) + half + channel)) {}
  __device__ static const Bf16* weights(const HeadNormParams& p, bool is_query) {
    return static_cast<const Bf16*>(is_query ? p.q : p.k);
  }
  __device__ void apply(float (&x_low)[8], float (&x_high)[8], float scale) const {
    float w[8];
    low.to_floats(w);
#pragma unroll
    for (int i = 0; i < 8; ++i) x_low[i] *= scale * w[i];
    high.to_floats(w);
#pragma unroll
    for (int i = 0; i < 8; ++i) x_high[i] *= scale * w[i];
  }
};

// Returns 1 / sqrt(mean of squares + eps) of a head whose channels are in the lanes of one span. All lanes of
// the span must call it.
template <int kSpan>
__device__ float inverse_root(const float (&low)[8], const float (&high)[8], bool idle, int d_head,
                              float eps) {
  float squares = 0.0F;
#pragma unroll
  for (int i = 0; i < 8; ++i) squares += low[i] * low[i] + high[i] * high[i];
  if (idle) squares = 0.0F;
  // The spans of a warp may be at different tokens, and some of them may have no next token. So each has its
  // own mask.
  const unsigned span = ((1U << kSpan) - 1U) << (threadIdx.x % 32U / kSpan * kSpan);
#pragma unroll
  for (int mask = kSpan / 2; mask > 0; mask /= 2) squares += __shfl_xor_sync(span, squares, mask);
  return rsqrtf(squares / static_cast<float>(d_head) + eps);
}

// The place to which head `slot` (queries, then keys, then values) of a token is written.
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

// A thread's pools of its eight channels and their partners, over the tokens it has taken so far. The largest
// and smallest of bf16 values are bf16 values again.
struct Pool {
  Bf16x8 top[2], bottom[2];
  float total[16] = {};

  __device__ Pool() {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        top[half].pair[i] = __float2bfloat162_rn(-INFINITY);
        bottom[half].pair[i] = __float2bfloat162_rn(INFINITY);
      }
  }
  __device__ void take(bool extremes, int half, const Bf16x8& raw, const float (&x)[8]) {
#pragma unroll
    for (int i = 0; i < 4 && extremes; ++i) {
      top[half].pair[i] = __hmax2(top[half].pair[i], raw.pair[i]);
      bottom[half].pair[i] = __hmin2(bottom[half].pair[i], raw.pair[i]);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) total[half * 8 + i] += x[i];
  }
};

// The pools of a block's threads, which are then combined over the tokens.
template <int kDHead, int kLanes>
struct SharedPools {
  Bf16x8 top[kLanes][kDHead / 8], bottom[kLanes][kDHead / 8];
  float4 total[kLanes][kDHead / 4];

  __device__ void put(const Pool& pool, bool extremes, int lane, int chunk) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = half * kDHead / 16 + chunk;
      if (extremes) {
        top[lane][at] = pool.top[half];
        bottom[lane][at] = pool.bottom[half];
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float* x = pool.total + half * 8 + i * 4;
        total[lane][2 * at + i] = make_float4(x[0], x[1], x[2], x[3]);
      }
    }
  }
  // Writes the combined pools to `out` in the order max, min, avg.
  __device__ void write(Bf16* out, const GatePools& wanted, int n_tokens, int thread) const {
    const auto* tops = reinterpret_cast<const __nv_bfloat162*>(top);
    const auto* bottoms = reinterpret_cast<const __nv_bfloat162*>(bottom);
    const auto* totals = reinterpret_cast<const float*>(total);
    auto* pairs = reinterpret_cast<__nv_bfloat162*>(out);
    constexpr int kPairs = kDHead / 2;
    if (wanted.max || wanted.min) {
      for (int i = thread; i < 2 * kPairs; i += kThreads) {
        const bool is_top = i < kPairs;
        if (!(is_top ? wanted.max : wanted.min)) continue;
        const auto* from = (is_top ? tops : bottoms) + i % kPairs;
        __nv_bfloat162 value = from[0];
#pragma unroll 4
        for (int l = 1; l < kLanes; ++l)
          value = is_top ? __hmax2(value, from[l * kPairs]) : __hmin2(value, from[l * kPairs]);
        pairs[(is_top || !wanted.max ? 0 : kPairs) + i % kPairs] = value;
      }
    }
    if (!wanted.avg) return;
    out += (static_cast<int>(wanted.max) + static_cast<int>(wanted.min)) * kDHead;
    const float scale = 1.0F / static_cast<float>(n_tokens);
    for (int d = thread; d < kDHead; d += kThreads) {
      float value = 0.0F;
#pragma unroll 4
      for (int l = 0; l < kLanes; ++l) value += totals[l * kDHead + d];
      out[d] = __float2bfloat16(value * scale);
    }
  }
};

// A block takes a page's tokens and two heads, one after another, so that the second head finds cosines and
// sines in L1. A thread holds eight pairs of a token. With four heads for a block, a GPU would have too few
// blocks (a layer of 32k tokens with pools took 0.33 ms, and 0.29 ms with two).
constexpr int kHeadsOfBlock = 2;
constexpr int kBatch = 2;  // tokens whose loads a thread has in flight
// How many blocks a multiprocessor must hold if there are norms: as many as without. This spills one
// register. The compiler by itself takes 128 registers, which leave room for four blocks.
constexpr int kNormBlocksOfSm = 5;

// `Norms` is HeadNormParams, or nothing for models without norms. The norms are a parameter of their own
// because even an unused member of PrefillAppendParams changes the instructions of the kernel without norms.
template <int kDHead, class... Norms>
__global__ void __launch_bounds__(kThreads, sizeof...(Norms) > 0 ? kNormBlocksOfSm : 0)
    prefill_append_kernel(const PrefillAppendParams p, Norms... given) {
  constexpr bool kNorms = sizeof...(Norms) > 0;
  const HeadNormParams norms{given...};
  constexpr int kHalf = kDHead / 2, kChunks = kHalf / 8, kSpan = kNorms ? span_of(kChunks) : kChunks,
                kLanes = kThreads / kSpan;
  __shared__ SharedPools<kDHead, kLanes> shared;
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const KvAppendParams& c = p.common;
  const int thread = static_cast<int>(threadIdx.x), lane = thread / kSpan;
  const bool idle = kSpan > kChunks && thread % kSpan >= kChunks;
  const int chunk = idle ? 0 : thread % kSpan;
  const int n_slots = c.n_heads + 2 * c.n_kv_heads;
  const int64_t block = blockIdx.y, first = block * c.page_tokens;
  const int n_tokens = static_cast<int>(min(static_cast<int64_t>(c.page_tokens), p.n_tokens - first));
  const int page = p.page_table[p.start / c.page_tokens + block];
  const int n_mine = lane < kLanes ? n_tokens : 0;

  const int begin = static_cast<int>(blockIdx.x) * kHeadsOfBlock;
  for (int slot = begin; slot < min(begin + kHeadsOfBlock, n_slots); ++slot) {
    const bool is_query = slot < c.n_heads;
    const bool is_pooled = p.pooled_q != nullptr && slot < c.n_heads + c.n_kv_heads;
    const GatePools pools = is_query ? p.q_pools : p.k_pools;
    const bool extremes = is_pooled && (pools.max || pools.min);
    const Target to = target(c, slot, first, page, 0);
    const int64_t out_stride = is_query ? c.n_heads * kDHead : kDHead, in_stride = n_slots * kDHead;
    const Bf16* in = static_cast<const Bf16*>(c.qkv) + first * in_stride + slot * kDHead + chunk * 8;
    Bf16* out = to.out + chunk * 8;
    ThreadNorm norm;
    if constexpr (kNorms)
      if (to.rotated) norm = ThreadNorm(norms, is_query, chunk * 8, kHalf);
    Pool pool;
    for (int from = lane; from < n_mine; from += kBatch * kLanes) {
      Bf16x8 raw_low[kBatch], raw_high[kBatch];
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const Bf16* at = in + min(from + b * kLanes, n_tokens - 1) * in_stride;
        raw_low[b] = load8(at);
        raw_high[b] = load8(at + kHalf);
      }
      float scale[kBatch];  // of each token's norm
      if constexpr (kNorms) {
#pragma unroll
        for (int b = 0; b < kBatch && to.rotated; ++b) {
          float low[8], high[8];
          raw_low[b].to_floats(low);
          raw_high[b].to_floats(high);
          scale[b] = inverse_root<kSpan>(low, high, idle, kDHead, norms.eps);
        }
        if (idle) continue;
      }
#pragma unroll
      for (int b = 0; b < kBatch; ++b) {
        const int token = from + b * kLanes;
        if (token >= n_tokens) break;
        if (to.rotated) {
          float low[8], high[8];
          raw_low[b].to_floats(low);
          raw_high[b].to_floats(high);
          if constexpr (kNorms) {
            norm.apply(low, high, scale[b]);
            raw_low[b] = Bf16x8::from_floats(low);
            raw_high[b] = Bf16x8::from_floats(high);
          }
          pool.take(extremes, 0, raw_low[b], low);
          pool.take(extremes, 1, raw_high[b], high);
          const int64_t angle = (first + token) * kHalf + chunk * 8;
          rotate8(low, high, c.cos + angle, c.sin + angle);
          raw_low[b] = Bf16x8::from_floats(low);
          raw_high[b] = Bf16x8::from_floats(high);
        }
        store8(out + token * out_stride, raw_low[b]);
        store8(out + token * out_stride + kHalf, raw_high[b]);
      }
    }
    if (!is_pooled) continue;

    const int n_pools =
        static_cast<int>(pools.max) + static_cast<int>(pools.min) + static_cast<int>(pools.avg);
    const int64_t pooled_row = is_query ? block * c.n_heads + slot : block * c.n_kv_heads + slot - c.n_heads;
    Bf16* pooled = static_cast<Bf16*>(is_query ? p.pooled_q : p.pooled_k) + pooled_row * n_pools * kDHead;
    __syncthreads();  // all threads have read the pools of the head before
    if (lane < kLanes && !idle) shared.put(pool, extremes, lane, chunk);
    __syncthreads();
    shared.write(pooled, pools, n_tokens, thread);
  }
}

// A thread's head of a decoded token, and the eight channels that it handles with their partners.
struct DecodeWork {
  int slot, chunk;
  bool idle;

  // kSpan is that of decode_append_kernel.
  template <int kSpan>
  __device__ static DecodeWork find(int chunks) {
    const int lanes = kSpan > 0 ? kSpan : chunks;
    const int index = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
    const int slot = index / lanes, chunk = index % lanes;
    const bool idle = kSpan > 0 && chunk >= chunks;
    return {slot, idle ? 0 : chunk, idle};
  }
};

// kSpan is the number of lanes of a head, which are normalised together; 0 without norms.
template <int kSpan, class... Norms>
__global__ void __launch_bounds__(kThreads) decode_append_kernel(const DecodeAppendParams p, Norms... given) {
  const HeadNormParams norms{given...};
  const KvAppendParams& c = p.common;
  const int half = c.d_head / 2, chunks = half / 8, n_slots = c.n_heads + 2 * c.n_kv_heads;
  const int64_t row = blockIdx.y;
  ptx::let_next_kernel_start();
  // Weights never change, and a copy to the device wrote positions and tables before the step's first kernel
  // began. So these may be read before the previous kernel has ended.
  const auto [slot, chunk, idle] = DecodeWork::find<kSpan>(chunks);
  ThreadNorm norm;
  if constexpr (kSpan > 0)
    if (slot < c.n_heads + c.n_kv_heads) norm = ThreadNorm(norms, slot < c.n_heads, chunk * 8, half);
  const int position = __ldcg(p.positions + row);
  const int page = __ldcg(p.tables + __ldcg(p.table_offsets + row) + position / c.page_tokens);
  ptx::wait_for_previous_kernel();
  if (slot >= n_slots || (page < 0 && slot >= c.n_heads)) return;
  const Bf16* in = static_cast<const Bf16*>(c.qkv) + row * n_slots * c.d_head + slot * c.d_head + chunk * 8;
  const Target to = target(c, slot, row, page, position % c.page_tokens);
  float low[8], high[8];
  load8(in).to_floats(low);
  load8(in + half).to_floats(high);
  if constexpr (kSpan > 0) {
    if (to.rotated) norm.apply(low, high, inverse_root<kSpan>(low, high, idle, c.d_head, norms.eps));
    if (idle) return;
  }
  if (to.rotated) rotate8(low, high, c.cos + row * half + chunk * 8, c.sin + row * half + chunk * 8);
  store8(to.out + chunk * 8, Bf16x8::from_floats(low));
  store8(to.out + half + chunk * 8, Bf16x8::from_floats(high));
}

template <int kDHead>
cudaError_t launch_prefill(const PrefillAppendParams& p, const HeadNormParams& norms, dim3 grid,
                           cudaStream_t stream) {
  return norms.q == nullptr
             ? launch(prefill_append_kernel<kDHead>, grid, kThreads, 0, stream, p)
             : launch(prefill_append_kernel<kDHead, HeadNormParams>, grid, kThreads, 0, stream, p, norms);
}

// Each head takes `lanes` threads.
template <int kSpan, class... Norms>
cudaError_t launch_decode(const DecodeAppendParams& p, int lanes, cudaStream_t stream,
                          const Norms&... norms) {
  const auto kernel = decode_append_kernel<kSpan, Norms...>;
  const int work = (p.common.n_heads + 2 * p.common.n_kv_heads) * lanes;
  const dim3 grid(static_cast<unsigned>((work + kThreads - 1) / kThreads), static_cast<unsigned>(p.n));
  const cudaError_t error = prefer_shared_memory(kernel);
  if (error != cudaSuccess) return error;
  return launch(kernel, grid, kThreads, 0, stream, p, norms...);
}

}  // namespace

cudaError_t launch_rope_table(const RopeTableParams& params, cudaStream_t stream) {
  const int64_t n = params.n_rows * params.half;
  return launch(rope_table_kernel, dim3(static_cast<unsigned>((n + 255) / 256)), 256, 0, stream, params);
}

cudaError_t launch_prefill_append(const PrefillAppendParams& params, const HeadNormParams& norms,
                                  cudaStream_t stream) {
  const KvAppendParams& c = params.common;
  const int n_slots = c.n_heads + 2 * c.n_kv_heads;
  const dim3 grid(static_cast<unsigned>((n_slots + kHeadsOfBlock - 1) / kHeadsOfBlock),
                  static_cast<unsigned>((params.n_tokens + c.page_tokens - 1) / c.page_tokens));
  switch (c.d_head) {
    case 64:
      return launch_prefill<64>(params, norms, grid, stream);
    case 96:
      return launch_prefill<96>(params, norms, grid, stream);
    case 128:
      return launch_prefill<128>(params, norms, grid, stream);
    case 256:
      return launch_prefill<256>(params, norms, grid, stream);
    default:
      assert(false && "the backend refuses other head sizes");
      return cudaErrorInvalidValue;
  }
}

cudaError_t launch_decode_append(const DecodeAppendParams& params, const HeadNormParams& norms,
                                 cudaStream_t stream) {
  const int chunks = params.common.d_head / 16;
  if (norms.q == nullptr) return launch_decode<0>(params, chunks, stream);
  switch (span_of(chunks)) {
    case 4:
      return launch_decode<4>(params, 4, stream, norms);
    case 8:
      return launch_decode<8>(params, 8, stream, norms);
    case 16:
      return launch_decode<16>(params, 16, stream, norms);
    default:
      assert(false && "the backend refuses other head sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
