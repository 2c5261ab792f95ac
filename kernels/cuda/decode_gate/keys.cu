// Gate keys of full pages.
#include "kernels/cuda/decode_gate/finish.cuh"
#include "kernels/cuda/decode_gate/head_sizes.cuh"
#include "kernels/cuda/decode_gate/params.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kThreads = 256;
constexpr int kPages = 4;  // pages of a thread block, which reads the weights once for all of them

template <int kDHead>
struct KeyShape {
  static constexpr int kHalf = kDHead / 2;
  // Threads that pool at the same time: one for each pair of components, times token groups.
  static constexpr int kTokenGroups = kThreads / kHalf;
  // Threads that multiply: one for each chunk of 8 outputs, times rows of inputs.
  static constexpr int kChunks = kDHead / 8;
  static constexpr int kRows = kThreads / kChunks;
  static constexpr int kPooled = 3 * kDHead;  // inputs of the product, at most
  // Floats of shared memory: pooled inputs [kPooled, kPages]; and partial pools [kTokenGroups, 6, kHalf], or
  // the rows' sums [kRows, kPages, kDHead].
  static constexpr int kScratch = kRows * kPages * kDHead;
  static_assert(kScratch >= kTokenGroups * 6 * kHalf);
  static constexpr int kSharedBytes = (kPooled * kPages + kScratch) * 4;
};

// The largest, the smallest and the sum of the two components of a pair.
struct PairPools {
  float2 most{-INFINITY, -INFINITY}, least{INFINITY, INFINITY}, sum{0.0F, 0.0F};

  __device__ void add(float a, float b) {
    most = {fmaxf(most.x, a), fmaxf(most.y, b)};
    least = {fminf(least.x, a), fminf(least.y, b)};
    sum = {sum.x + a, sum.y + b};
  }
  __device__ void add(const PairPools& other) {
    most = {fmaxf(most.x, other.most.x), fmaxf(most.y, other.most.y)};
    least = {fminf(least.x, other.least.x), fminf(least.y, other.least.y)};
    sum = {sum.x + other.sum.x, sum.y + other.sum.y};
  }
};

// Returns the page that row i of the launch stands for, or -1 if there is none.
__device__ int page_of(const DecodeGateKeyParams& p, int64_t i) {
  if (i >= p.n_pages) return -1;
  if (p.positions == nullptr) return __ldcg(p.tables + i);
  const int position = __ldcg(p.positions + i);
  if ((position + 1) % p.page_tokens != 0) return -1;
  return __ldcg(p.tables + __ldcg(p.table_offsets + i) + position / p.page_tokens);
}

// Pools the keys of a page, taken before RoPE, into column `slot` of `pooled` [n_pools * kDHead, kPages].
template <int kDHead>
__device__ void pool_page(const DecodeGateKeyParams& p, int page, int head, int64_t row, float* pooled,
                          int slot, float* partial) {
  using Shape = KeyShape<kDHead>;
  const int thread = static_cast<int>(threadIdx.x), pair = thread % Shape::kHalf,
            group = thread / Shape::kHalf;
  const Bf16* keys = static_cast<const Bf16*>(p.k) +
                     (static_cast<int64_t>(page) * p.n_kv_heads + head) * p.page_tokens * kDHead;
  if (group < Shape::kTokenGroups) {
    const float c0 = p.first_cos[row * Shape::kHalf + pair], s0 = p.first_sin[row * Shape::kHalf + pair];
    PairPools pools;
#pragma unroll 8
    for (int t = group; t < p.page_tokens; t += Shape::kTokenGroups) {
      const float cj = p.within_cos[t * Shape::kHalf + pair], sj = p.within_sin[t * Shape::kHalf + pair];
      const float c = c0 * cj - s0 * sj, s = s0 * cj + c0 * sj;
      const float a = __bfloat162float(keys[t * kDHead + pair]),
                  b = __bfloat162float(keys[t * kDHead + pair + Shape::kHalf]);
      pools.add(a * c + b * s, b * c - a * s);
    }
    auto* mine = reinterpret_cast<float2*>(partial + group * 6 * Shape::kHalf) + pair;
    mine[0] = pools.most;
    mine[Shape::kHalf] = pools.least;
    mine[2 * Shape::kHalf] = pools.sum;
  }
  __syncthreads();
  if (group == 0) {
    PairPools pools;
    for (int i = 0; i < min(Shape::kTokenGroups, p.page_tokens); ++i) {
      const auto* from = reinterpret_cast<const float2*>(partial + i * 6 * Shape::kHalf) + pair;
      pools.add(PairPools{from[0], from[Shape::kHalf], from[2 * Shape::kHalf]});
    }
    const float n = static_cast<float>(p.page_tokens);
    float* out = pooled + pair * kPages + slot;
    const auto put = [&](float2 x) {
      out[0] = x.x;
      out[Shape::kHalf * kPages] = x.y;
      out += kDHead * kPages;
    };
    if (p.pools.max) put(pools.most);
    if (p.pools.min) put(pools.least);
    if (p.pools.avg) put({pools.sum.x / n, pools.sum.y / n});
  }
  __syncthreads();
}

// The first row of sums [kRows, kPages, kDHead] gets the pools times the head's weights.
template <int kDHead>
__device__ void multiply_pools(const Bf16* weights, int n_inputs, const float* pooled, float* sums) {
  using Shape = KeyShape<kDHead>;
  const int thread = static_cast<int>(threadIdx.x), chunk = thread % Shape::kChunks,
            row = thread / Shape::kChunks;
  constexpr int kRowFloats = kPages * kDHead;
  if (row < Shape::kRows) {
    float total[kPages][8] = {};
#pragma unroll 8
    for (int i = row; i < n_inputs; i += Shape::kRows) {
      float w[8];
      load8(weights + static_cast<int64_t>(i) * kDHead + chunk * 8).to_floats(w);
      const float4 x = *reinterpret_cast<const float4*>(pooled + i * kPages);
      const float factors[kPages] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int page = 0; page < kPages; ++page)
#pragma unroll
        for (int j = 0; j < 8; ++j) total[page][j] += factors[page] * w[j];
    }
#pragma unroll
    for (int page = 0; page < kPages; ++page) {
      auto* out = reinterpret_cast<float4*>(sums + row * kRowFloats + page * kDHead + chunk * 8);
      out[0] = {total[page][0], total[page][1], total[page][2], total[page][3]};
      out[1] = {total[page][4], total[page][5], total[page][6], total[page][7]};
    }
  }
  __syncthreads();
  for (int i = thread; i < kRowFloats; i += kThreads) {
    float total = 0.0F;
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) total += sums[r * kRowFloats + i];
    sums[i] = total;  // no other thread reads element i of the first row
  }
  __syncthreads();
}

// Normalises and rotates a key, and stores it. A warp does one key.
template <int kDHead>
__device__ void store_key(const DecodeGateKeyParams& p, const float* key, int page, int head, int64_t row,
                          int lane) {
  constexpr int kHalf = kDHead / 2;
  Bf16* out = static_cast<Bf16*>(p.gate_k) + (static_cast<int64_t>(page) * p.n_kv_heads + head) * kDHead;
  const int64_t at = row * kHalf;
  normalise_and_rotate<kDHead>(key, static_cast<const Bf16*>(p.norm), p.rotates ? p.first_cos + at : nullptr,
                               p.first_sin + at, lane, [&](int i, float low, float high) {
                                 out[i] = __float2bfloat16(low);
                                 out[i + kHalf] = __float2bfloat16(high);
                               });
}

// A thread block makes the keys of one KV head in up to kPages pages.
template <int kDHead>
__global__ void __launch_bounds__(kThreads)
    decode_gate_keys_kernel(const __grid_constant__ DecodeGateKeyParams p) {
  using Shape = KeyShape<kDHead>;
  extern __shared__ __align__(16) float floats[];
  float *pooled = floats, *scratch = floats + Shape::kPooled * kPages;
  ptx::let_next_kernel_start();
  const int head = static_cast<int>(blockIdx.y);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kPages;
  __shared__ int pages[kPages];
  if (threadIdx.x < kPages) pages[threadIdx.x] = page_of(p, first + threadIdx.x);
  // A grid without work must wait as well: if it ended early, the kernels after it would not wait for the
  // kernels before it.
  ptx::wait_for_previous_kernel();
  __syncthreads();
  bool any = false;
  for (int i = 0; i < kPages; ++i) any = any || pages[i] >= 0;
  if (!any) return;
  for (int i = 0; i < kPages; ++i)
    if (pages[i] >= 0) pool_page<kDHead>(p, pages[i], head, first + i, pooled, i, scratch);
  const int n_inputs = (int{p.pools.max} + int{p.pools.min} + int{p.pools.avg}) * kDHead;
  // The columns of pages that are not there hold whatever was in the memory before. They are multiplied too,
  // but no key is stored for them.
  multiply_pools<kDHead>(static_cast<const Bf16*>(p.weights) + static_cast<int64_t>(head) * n_inputs * kDHead,
                         n_inputs, pooled, scratch);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  if (warp < kPages && pages[warp] >= 0)
    store_key<kDHead>(p, scratch + warp * kDHead, pages[warp], head, first + warp, lane);
}

template <int kDHead>
cudaError_t launch_keys(const DecodeGateKeyParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((p.n_pages + kPages - 1) / kPages),
                  static_cast<unsigned>(p.n_kv_heads));
  const cudaError_t error = prefer_shared_memory(decode_gate_keys_kernel<kDHead>);
  if (error != cudaSuccess) return error;
  return launch(decode_gate_keys_kernel<kDHead>, grid, kThreads, KeyShape<kDHead>::kSharedBytes, stream, p);
}

}  // namespace

cudaError_t launch_decode_gate_keys(const DecodeGateKeyParams& params, cudaStream_t stream) {
  return for_head_size(params.d_head, [&](auto d_head) { return launch_keys<d_head()>(params, stream); });
}

}  // namespace seer::cuda
