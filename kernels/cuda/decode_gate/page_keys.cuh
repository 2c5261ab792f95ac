// The gate keys of a decoded token's pages, and their products with the gate query.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/decode_gate/query.cuh"
#include "kernels/cuda/ptx/prefetch.cuh"

namespace seer::cuda {

// The keys of full pages that one part of a warp scores. If the cluster has n such parts, each of them scores
// every n-th full page of the sequence. Earlier steps wrote the gate keys of the pages that they filled. So
// the first of these keys are loaded before the previous kernel has ended, and the others are brought to L2.
//
// kDivided: ranks divide the pages, and the table has -1 for those of other ranks. Such pages' scores are 0.
template <class Shape, bool kDivided>
struct PageKeys {
  const __nv_bfloat16* keys;  // of this head
  const int32_t* table;
  int64_t page_stride;  // elements from page to page
  int n;                // full pages
  int first, step;      // this part's pages are first, first + step, ...
  int chunk;            // of a key, this lane's
  uint4 ahead[Shape::kBatch];

  __device__ PageKeys(const DecodeGateSelectParams& p, int head, int rank, int size, int n_full, int n_old,
                      const int32_t* pages)
      : keys(static_cast<const __nv_bfloat16*>(p.gate_k) + static_cast<int64_t>(head) * Shape::kDHead),
        table(pages),
        page_stride(static_cast<int64_t>(p.n_kv_heads) * Shape::kDHead),
        n(n_full) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    chunk = lane % Shape::kLanes;
    first = (rank * Shape::kWarps + warp) * Shape::kKeys + lane / Shape::kLanes;
    step = size * Shape::kWarps * Shape::kKeys;
    load(ahead, first, n_old);
    for (int b = first + Shape::kBatch * step; b < n_old; b += step)
      if (chunk % 8 == 0 && chunk < Shape::kChunks) prefetch(__ldcg(table + b));
  }
  __device__ const uint4* key(int page) const {
    return reinterpret_cast<const uint4*>(keys + page * page_stride) + chunk;
  }
  __device__ void prefetch(int page) const {
    if (kDivided && page < 0) return;
    ptx::prefetch_l2_line(key(page));
  }
  __device__ uint4 load(int page) const { return kDivided && page < 0 ? uint4{} : __ldcg(key(page)); }
  // Loads this lane's chunk of the keys `from`, `from` + step and so on below `end`.
  __device__ void load(uint4 (&raw)[Shape::kBatch], int from, int end) const {
    int page[Shape::kBatch];
#pragma unroll
    for (int i = 0; i < Shape::kBatch; ++i)
      page[i] = from + i * step < end && chunk < Shape::kChunks ? __ldcg(table + from + i * step) : -1;
#pragma unroll
    for (int i = 0; i < Shape::kBatch; ++i) raw[i] = page[i] < 0 ? uint4{} : __ldcg(key(page[i]));
  }
  // Hands each score to put(page number, score). n_old is as in the constructor.
  template <class Put>
  __device__ void score(const float* query, int n_old, const Put& put) {
    float q[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) q[j] = chunk < Shape::kChunks ? query[chunk * 8 + j] : 0.0F;
    const auto add = [&](int block, const uint4& raw) {
      float k[8], score = 0.0F;
      reinterpret_cast<const Bf16x8*>(&raw)->to_floats(k);
#pragma unroll
      for (int j = 0; j < 8; ++j) score += q[j] * k[j];
#pragma unroll
      for (int mask = Shape::kLanes / 2; mask > 0; mask /= 2)
        score += __shfl_xor_sync(0xffffffffU, score, mask);
      if (block < n && chunk == 0) put(block, score);
    };
    // The key of a page that this step filled has not been asked for yet, because an earlier kernel of the
    // step wrote it.
    if (n_old < n && first % step == n_old % step) {
      const int i = (n_old - first) / step;
#pragma unroll
      for (int j = 0; j < Shape::kBatch; ++j)
        if (j == i && chunk < Shape::kChunks) ahead[j] = load(__ldcg(table + n_old));
    }
    for (int from = first; from - first % Shape::kKeys < n; from += step * Shape::kBatch) {
      uint4 raw[Shape::kBatch];
      const int next = from + step * Shape::kBatch;
      load(raw, next, n);
#pragma unroll
      for (int i = 0; i < Shape::kBatch; ++i) add(from + i * step, ahead[i]);
#pragma unroll
      for (int i = 0; i < Shape::kBatch; ++i) ahead[i] = raw[i];
    }
  }
};

}  // namespace seer::cuda
