// Combines partial results of decode attention: those of a block's warps, of a cluster's blocks, and of
// clusters.
#pragma once

#include "kernels/cuda/attention/paged_decode/shape.cuh"
#include "kernels/cuda/ptx/cluster.cuh"
#include "kernels/cuda/ptx/shared.cuh"

namespace seer::cuda {

// One element of a row's partial result. `top` is the row's largest score, times log2(e); it is -infinity if
// there are no keys. The weight of a key is 2^(score log2(e) - top). `sum` adds up weight times value, and
// `total` the weights.
struct DecodeElement {
  float top = -INFINITY, sum = 0.0F, total = 0.0F;
};

// Combines partial results in the order of the array. If none of them has keys, the result is NaN: callers do
// not use it.
template <int kN>
__device__ DecodeElement combine(const DecodeElement (&parts)[kN]) {
  DecodeElement all;
#pragma unroll
  for (int i = 0; i < kN; ++i) all.top = fmaxf(all.top, parts[i].top);
#pragma unroll
  for (int i = 0; i < kN; ++i) {
    const float weight = ptx::exp2_approx(parts[i].top - all.top);
    all.sum += weight * parts[i].sum;
    all.total += weight * parts[i].total;
  }
  return all;
}

// The place of an element in a partial result: its sum is at `value`, its row's maximum and total at `stats`.
template <int kDHead>
struct DecodePlace {
  int value, stats;

  __device__ DecodePlace(int row, int d)
      : value(row * kDecodeRowFloats<kDHead> + d), stats(row * kDecodeRowFloats<kDHead> + kDHead) {}

  __device__ void put(float* partial, const DecodeElement& x) const {
    partial[value] = x.sum;
    if (value + kDHead == stats) {
      partial[stats] = x.top;
      partial[stats + 1] = x.total;
    }
  }
};

template <int kWarps, int kDHead>
__device__ DecodeElement combine_warps(const float* warps, const DecodePlace<kDHead>& at) {
  DecodeElement parts[kWarps];
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    const float* from = warps + w * kDecodePartialFloats<kDHead>;
    parts[w] = {from[at.stats], from[at.value], from[at.stats + 1]};
  }
  return combine(parts);
}

// Combines the partial results of the cluster's first n blocks, which are those with keys. `block` is the
// shared address of this block's partial result; every block of the cluster has its own at that address.
template <int kMost, int kDHead>
__device__ DecodeElement combine_cluster(uint32_t block, int n, const DecodePlace<kDHead>& at) {
  DecodeElement parts[kMost];
#if __CUDA_ARCH__ >= 900
#pragma unroll
  for (int b = 0; b < kMost; ++b) {
    if (b >= n) break;
    const uint32_t from = ptx::map_shared(block, static_cast<uint32_t>(b));
    parts[b] = {ptx::load_cluster(from + at.stats * 4), ptx::load_cluster(from + at.value * 4),
                ptx::load_cluster(from + at.stats * 4 + 4)};
  }
#endif
  return combine(parts);
}

// Combines n partial results in global memory, which lie one after another. Other thread blocks wrote them,
// so the loads bypass L1.
template <int kDHead>
__device__ DecodeElement combine_global(const float* partials, int n, const DecodePlace<kDHead>& at) {
  constexpr int kBatch = 4;  // partial results that are loaded at the same time
  DecodeElement parts[kBatch + 1];
  for (int first = 0; first < n; first += kBatch) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const float* from = partials + (first + i) * kDecodePartialFloats<kDHead>;
      parts[i + 1] = first + i >= n ? DecodeElement{}
                                    : DecodeElement{__ldcg(from + at.stats), __ldcg(from + at.value),
                                                    __ldcg(from + at.stats + 1)};
    }
    parts[0] = combine(parts);
  }
  return parts[0];
}

// Writes the results of a thread block's heads.
template <int kDHead, bool kPart>
struct DecodeOutput {
  __nv_bfloat16* whole;
  float *part, *log_sums;

  __device__ DecodeOutput(const DecodeParams& p, int64_t first_head)
      : whole(static_cast<__nv_bfloat16*>(p.out) + first_head * kDHead),
        part(static_cast<float*>(p.out) + first_head * kDHead),
        log_sums(kPart ? p.log_sums + first_head : nullptr) {}

  __device__ void put(int row, int d, const DecodeElement& x) const {
    if constexpr (kPart) {
      constexpr float kLn2 = 0.6931471805599453F;
      part[row * kDHead + d] = x.sum / x.total;
      if (d == 0) log_sums[row] = (x.top + log2f(x.total)) * kLn2;
    } else {
      whole[row * kDHead + d] = __float2bfloat16(x.sum / x.total);
    }
  }
  __device__ void put_nothing(int row, int d) const {
    part[row * kDHead + d] = 0.0F;
    if (d == 0) log_sums[row] = -INFINITY;
  }
};

}  // namespace seer::cuda
