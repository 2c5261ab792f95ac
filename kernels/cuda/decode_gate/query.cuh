// The gate query of one decoded token and KV head, which a thread block makes, or a cluster of them together.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/decode_gate/finish.cuh"
#include "kernels/cuda/decode_gate/head_sizes.cuh"
#include "kernels/cuda/decode_gate/params.h"
#include "kernels/cuda/ptx/cluster.cuh"
#include "kernels/cuda/ptx/shared.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {

inline constexpr int kSelectNarrowWarps = 8, kSelectWideWarps = 16;

// The kernels are written for a shape: a head size, and how many warps a thread block has.
template <int kDHead_, int kWarps_>
struct SelectShape {
  static constexpr int kDHead = kDHead_, kWarps = kWarps_, kThreads = kWarps * 32;
  static constexpr int kChunks = kDHead / 8;  // pieces of 8 components
  // Weights: one thread for each chunk of outputs, times rows of inputs.
  static constexpr int kRows = kThreads / kChunks;
  // Keys: a warp scores kKeys at a time, with kLanes lanes for each.
  static constexpr int kLanes = kChunks <= 8 ? 8 : kChunks <= 16 ? 16 : 32;
  static constexpr int kKeys = 32 / kLanes;
  static constexpr int kBatch = 8;  // keys that a lane loads at the same time
};

// The shared memory of a thread block. Each block of a cluster has the same layout; only the first one's row
// of scores is used.
template <class Shape>
struct SelectMemory {
  static constexpr int kDHead = Shape::kDHead;
  float* heads;    // [group * kDHead]: query heads, normalised
  float* sums;     // [kRows, kDHead]: products of each thread row
  float* partial;  // [kDHead]: the block's part of the query
  float* query;    // [kDHead]
  uint32_t* row;   // [n_blocks]: scores, as floats

  __device__ SelectMemory(float* memory, int group)
      : heads(memory),
        sums(heads + group * kDHead),
        partial(sums + Shape::kRows * kDHead),
        query(partial + kDHead),
        row(reinterpret_cast<uint32_t*>(query + kDHead)) {}
};

// Returns the bytes of SelectMemory.
inline int64_t select_bytes(int d_head, int n_warps, int group, int64_t n_blocks) {
  const int64_t rows = n_warps * 32 / (d_head / 8);
  return 4 * (static_cast<int64_t>(group) * d_head + rows * d_head + 2 * d_head + n_blocks);
}

// How many thread blocks make one list together, and how many warps each of them has.
struct SelectDivision {
  int cluster, n_warps;
};

// Wide blocks take less time for many pages, and a little more for few (DESIGN.md has the times).
inline SelectDivision divide_select(const DecodeGateSelectParams& p, int n_multiprocessors,
                                    bool has_clusters) {
  constexpr int kMost = 8;
  constexpr int64_t kWideKeys = 32768;
  constexpr int64_t kWideCapacity = 16384;  // pages whose scores fit into shared memory besides the rest
  const int n_lists = p.n_decodes * p.n_kv_heads;
  const bool wide = has_clusters && p.longest > kWideKeys && 2 * n_lists <= n_multiprocessors &&
                    p.capacity <= kWideCapacity;
  // A multiprocessor has room for one wide block or two narrow ones, but clusters of more than two narrow
  // ones wait for room (DESIGN.md).
  const auto fits = [&](int blocks) {
    return blocks * n_lists <= (blocks == 2 && !wide ? 2 : 1) * n_multiprocessors;
  };
  int size = 1;
  while (has_clusters && size < kMost && fits(size * 2)) size *= 2;
  return {size, wide ? kSelectWideWarps : kSelectNarrowWarps};
}

// Calls launch(SelectShape<d_head, n_warps>()) and returns what it returns.
template <class Launch>
cudaError_t for_select_shape(int d_head, int n_warps, const Launch& launch) {
  return for_head_size(d_head, [&](auto size) {
    return n_warps == kSelectWideWarps ? launch(SelectShape<size(), kSelectWideWarps>())
                                       : launch(SelectShape<size(), kSelectNarrowWarps>());
  });
}

__device__ inline int cluster_size() {
#if __CUDA_ARCH__ >= 900
  return static_cast<int>(ptx::n_cluster_blocks());
#else
  return 1;
#endif
}

__device__ inline void cluster_barrier(int size) {
#if __CUDA_ARCH__ >= 900
  if (size > 1) {
    ptx::cluster_arrive();
    ptx::cluster_wait();
    return;
  }
#endif
  __syncthreads();
}

// Writes the heads of a group to memory, normalised if there is a norm. A warp does one head.
template <class Shape>
__device__ void load_heads(const DecodeGateSelectParams& p, const __nv_bfloat16* heads, int group,
                           float* out) {
  constexpr int kDHead = Shape::kDHead;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const auto* norm = static_cast<const __nv_bfloat16*>(p.head_norm);
  for (int h = warp; h < group; h += Shape::kWarps) {
    float x[(kDHead + 31) / 32], squares = 0.0F;
#pragma unroll
    for (int i = 0; i < kDHead / 32; ++i) {
      x[i] = __bfloat162float(heads[h * kDHead + i * 32 + lane]);
      squares += x[i] * x[i];
    }
    const float scale = norm == nullptr ? 1.0F : rsqrtf(warp_sum(squares) / kDHead + p.head_eps);
#pragma unroll
    for (int i = 0; i < kDHead / 32; ++i) {
      const float weight = norm == nullptr ? 1.0F : __bfloat162float(norm[i * 32 + lane]);
      out[h * kDHead + i * 32 + lane] = x[i] * scale * weight;
    }
  }
}

// Replaces the first head by the mean of all.
template <class Shape>
__device__ void average_heads(float* heads, int group) {
  constexpr int kDHead = Shape::kDHead;
  for (int d = static_cast<int>(threadIdx.x); d < Shape::kDHead; d += Shape::kThreads) {
    float sum = 0.0F;
    for (int h = 0; h < group; ++h) sum += heads[h * kDHead + d];
    heads[d] = sum / static_cast<float>(group);
  }
}

// The thread block's share of the product that makes the query: its inputs, and their weights. The first
// weights are asked for before the previous kernel has ended, because no kernel of a step writes weights.
template <class Shape>
struct QueryProduct {
  static constexpr int kDHead = Shape::kDHead;
  static constexpr int kAhead = 4;
  const __nv_bfloat16* weights;  // of the head: [n_inputs, kDHead]
  int row, chunk;                // of this thread
  int begin, end;                // inputs of this block
  uint4 ahead[kAhead];

  __device__ QueryProduct(const DecodeGateSelectParams& p, int head, int rank, int size)
      : weights(static_cast<const __nv_bfloat16*>(p.weights) +
                static_cast<int64_t>(head) * p.n_inputs * kDHead),
        row(static_cast<int>(threadIdx.x) / Shape::kChunks),
        chunk(static_cast<int>(threadIdx.x) % Shape::kChunks) {
    const int each = (p.n_inputs + size - 1) / size;
    begin = rank * each;
    end = min(p.n_inputs, begin + each);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) ahead[i] = load(begin + row + i * Shape::kRows);
  }
  __device__ uint4 load(int input) const {
    if (row >= Shape::kRows || input >= end) return uint4{};
    return __ldg(reinterpret_cast<const uint4*>(weights + static_cast<int64_t>(input) * kDHead) + chunk);
  }
  // Writes this thread's products to sums [kRows, kDHead].
  __device__ void multiply(const float* x, float* sums) const {
    if (row >= Shape::kRows) return;
    float total[8] = {};
    const auto add = [&](int input, const uint4& raw) {
      if (input >= end) return;
      float w[8];
      reinterpret_cast<const Bf16x8*>(&raw)->to_floats(w);
      const float factor = x[input];
#pragma unroll
      for (int j = 0; j < 8; ++j) total[j] += factor * w[j];
    };
#pragma unroll
    for (int i = 0; i < kAhead; ++i) add(begin + row + i * Shape::kRows, ahead[i]);
#pragma unroll 4
    for (int input = begin + row + kAhead * Shape::kRows; input < end; input += Shape::kRows)
      add(input, load(input));
    auto* out = reinterpret_cast<float4*>(sums + row * kDHead + chunk * 8);
    out[0] = {total[0], total[1], total[2], total[3]};
    out[1] = {total[4], total[5], total[6], total[7]};
  }
};

// Adds up the rows of sums.
template <class Shape>
__device__ void add_rows(const float* sums, float* out) {
  constexpr int kDHead = Shape::kDHead;
  for (int d = static_cast<int>(threadIdx.x); d < Shape::kDHead; d += Shape::kThreads) {
    float total = 0.0F;
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) total += sums[r * kDHead + d];
    out[d] = total;
  }
}

// Adds up the blocks' parts of the query, in the order of the blocks.
template <class Shape>
__device__ void gather_query(float* query, const float* partial, int size) {
  for (int d = static_cast<int>(threadIdx.x); d < Shape::kDHead; d += Shape::kThreads) {
    float total = partial[d];
#if __CUDA_ARCH__ >= 900
    if (size > 1) {
      const uint32_t at = ptx::shared_address(partial + d);
      total = 0.0F;
      for (int b = 0; b < size; ++b)
        total += ptx::load_cluster(ptx::map_shared(at, static_cast<uint32_t>(b)));
    }
#endif
    query[d] = total;
  }
}

// Normalises and rotates the query, and scales it, so that its product with a key is a score. One warp does
// it.
template <int kDHead>
__device__ void finish_query(const DecodeGateSelectParams& p, float* query, int decode, int lane) {
  constexpr int kHalf = kDHead / 2;
  const float scale = 1.0F / sqrtf(static_cast<float>(kDHead));
  const int64_t at = static_cast<int64_t>(decode) * kHalf;
  normalise_and_rotate<kDHead>(query, static_cast<const __nv_bfloat16*>(p.norm),
                               p.rotates ? p.cos + at : nullptr, p.sin + at, lane,
                               [&](int i, float low, float high) {
                                 query[i] = low * scale;
                                 query[i + kHalf] = high * scale;
                               });
}

// Makes the gate query in memory.query of every thread block of the cluster, whose threads all call this.
// When it returns, every block of the cluster has begun. Other blocks may still read this block's part of the
// query, so a block must not end before the cluster's next barrier.
template <class Shape>
__device__ void make_query(const DecodeGateSelectParams& p, const QueryProduct<Shape>& product,
                           const SelectMemory<Shape>& memory, int head, int decode, int group, int size) {
  constexpr int kDHead = Shape::kDHead;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int64_t width = static_cast<int64_t>(p.n_heads + 2 * p.n_kv_heads) * kDHead;
  load_heads<Shape>(p, static_cast<const __nv_bfloat16*>(p.qkv) + decode * width + head * group * kDHead,
                    group, memory.heads);
  __syncthreads();
  if (p.n_inputs != group * kDHead) average_heads<Shape>(memory.heads, group);
  __syncthreads();
  if (p.n_inputs > 0) {
    product.multiply(memory.heads, memory.sums);
    __syncthreads();
    add_rows<Shape>(memory.sums, memory.partial);
    cluster_barrier(size);
    gather_query<Shape>(memory.query, memory.partial, size);
  } else {
    for (int d = thread; d < Shape::kDHead; d += Shape::kThreads) memory.query[d] = memory.heads[d];
    cluster_barrier(size);  // every block has begun, so others may write to the first one's memory
  }
  __syncthreads();
  if (thread < 32) finish_query<kDHead>(p, memory.query, decode, lane);
  __syncthreads();
}

}  // namespace seer::cuda
