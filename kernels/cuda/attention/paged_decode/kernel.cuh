// The kernel. A thread block takes one split of one sequence's keys, for up to 16 query heads that share a KV
// head. Each of its warps walks slices of 16 keys with a pipeline of its own. See DESIGN.md in this folder.
#pragma once

#include <cmath>

#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {

inline constexpr int kDecodeWarps = 4;
inline constexpr int kDecodeRows = 16;       // query heads of a block: the rows of one mma tile
inline constexpr int kDecodeSliceKeys = 16;  // keys of a slice
inline constexpr int kDecodeMaxSplits = 64;
inline constexpr int kDecodeMinRounds = 2;  // least slices of a warp, so that a split has at least 128 keys

template <int kDHead>
struct DecodeShape {
  static constexpr int kStages = kDHead <= 128 ? 3 : 2;
  static constexpr int kSliceBytes = kDecodeSliceKeys * kDHead * 2;  // of K, and as much of V
  static constexpr int kWarpBytes = kStages * 2 * kSliceBytes;
  // The warps' results, sums, then maxima and totals, which take the place of the keys at the end.
  static constexpr int kMergeBytes = kDecodeWarps * kDecodeRows * (kDHead + 2) * 4;
  static constexpr int kPipelineBytes = kDecodeWarps * kWarpBytes;
  static constexpr int kSharedBytes = kPipelineBytes > kMergeBytes ? kPipelineBytes : kMergeBytes;
};

// Floats of one split's result for one sequence and head group: for each of kDecodeRows rows, d_head sums,
// then its maximum and its total.
__host__ __device__ constexpr int64_t decode_partial_floats(int d_head) {
  return static_cast<int64_t>(kDecodeRows) * (d_head + 2);
}

// One element of a row's result: the sum of weight times value, and the total of the weights. A weight is
// 2^(score - top), with scores in powers of two.
struct DecodeElement {
  float top, sum, total;
};

// Merges n partial results of one row that lie `stride` floats apart: sum_i w_i x_i and sum_i w_i total_i,
// w_i = 2^(max_i - max). Other thread blocks wrote them, so the loads bypass L1.
__device__ inline DecodeElement merge_partials(const float* sums, const float* stats, int64_t stride, int n) {
  float top = -INFINITY;
  for (int i = 0; i < n; ++i) top = fmaxf(top, __ldcg(stats + i * stride));
  float sum = 0.0F, total = 0.0F;
  for (int i = 0; i < n; ++i) {
    const float weight = ptx::exp2_approx(__ldcg(stats + i * stride) - top);
    sum += weight * __ldcg(sums + i * stride);
    total += weight * __ldcg(stats + i * stride + 1);
  }
  return {top, sum, total};
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
  // Writes element i of [heads, kDHead].
  __device__ void put(int i, const DecodeElement& x) const {
    if constexpr (kPart) {
      constexpr float kLn2 = 0.6931471805599453F;
      part[i] = x.sum / x.total;
      if (i % kDHead == 0) log_sums[i / kDHead] = (x.top + log2f(x.total)) * kLn2;
    } else {
      whole[i] = __float2bfloat16(x.sum / x.total);
    }
  }
  __device__ void put_nothing(int i) const {
    part[i] = 0.0F;
    if (i % kDHead == 0) log_sums[i / kDHead] = -INFINITY;
  }
};

// kPart: this GPU has only some of a sequence's keys, or none.
template <int kDHead, bool kPart>
__global__ void __launch_bounds__(kDecodeWarps * 32) paged_decode_kernel(const DecodeParams p) {
  using Shape = DecodeShape<kDHead>;
  using DTile = Tile<kDHead>;
  constexpr int kDSteps = kDHead / 16, kOutTiles = kDHead / 8;
  extern __shared__ __align__(128) unsigned char shared[];
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int g = lane / 4, t = lane % 4;

  const int group = p.n_heads / p.n_kv_heads, n_row_groups = (group + kDecodeRows - 1) / kDecodeRows;
  const int split = static_cast<int>(blockIdx.x), sequence = static_cast<int>(blockIdx.z);
  const int head_group = static_cast<int>(blockIdx.y);
  const int kv_head = head_group / n_row_groups, first_row = head_group % n_row_groups * kDecodeRows;
  const int n_rows = min(kDecodeRows, group - first_row), first_head = kv_head * group + first_row;

  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int n_keys = p.positions[sequence] + 1;
  const int32_t* table = p.tables + p.table_offsets[sequence];
  const int n_slices = (n_keys + kDecodeSliceKeys - 1) / kDecodeSliceKeys;
  // A split takes whole rounds of the block's warps, and at least kDecodeMinRounds, so that merging splits
  // costs less than it saves.
  const int even_slices = (n_slices + p.n_splits - 1) / p.n_splits;
  const int split_slices =
      max(kDecodeMinRounds, (even_slices + kDecodeWarps - 1) / kDecodeWarps) * kDecodeWarps;
  const int n_used_splits = (n_slices + split_slices - 1) / split_slices;
  using Output = DecodeOutput<kDHead, kPart>;
  const int64_t first_output = static_cast<int64_t>(sequence) * p.n_heads + first_head;
  if constexpr (kPart) {
    if (n_keys == 0 && split == 0)
      for (int i = thread; i < n_rows * kDHead; i += kDecodeWarps * 32)
        Output(p, first_output).put_nothing(i);
  }
  if (split >= n_used_splits) return;
  const int begin = split * split_slices, end = min(n_slices, begin + split_slices);

  // Loads the queries straight into mma's A layout; rows after the last head are zeros.
  const auto* q = static_cast<const __nv_bfloat16*>(p.q) + first_output * kDHead;
  uint32_t a[kDSteps][4];
#pragma unroll
  for (int i = 0; i < kDSteps; ++i)
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int row = g + r % 2 * 8, column = i * 16 + r / 2 * 8 + 2 * t;
      a[i][r] = row < n_rows ? *reinterpret_cast<const uint32_t*>(q + row * kDHead + column) : 0U;
    }

  // This warp takes slice begin + warp, then every fourth. Lane i has the page of the i-th of each 32 of
  // them.
  const uint32_t pipeline = ptx::shared_address(shared) + warp * Shape::kWarpBytes;
  const int n_mine = end > begin + warp ? (end - begin - warp + kDecodeWarps - 1) / kDecodeWarps : 0;
  const auto slice_at = [&](int i) { return begin + warp + i * kDecodeWarps; };
  int pages = 0;
  const auto load_slice = [&](int i) {
    if (i % 32 == 0 && i + lane < n_mine)
      pages = table[slice_at(i + lane) * kDecodeSliceKeys / p.page_tokens];
    if (i < n_mine) {
      const int first_key = slice_at(i) * kDecodeSliceKeys;
      const int page = __shfl_sync(0xffffffffU, pages, i % 32);
      const int64_t at = ((static_cast<int64_t>(page) * p.n_kv_heads + kv_head) * p.page_tokens +
                          first_key % p.page_tokens) *
                         kDHead;
      const uint32_t stage = pipeline + i % Shape::kStages * 2 * Shape::kSliceBytes;
      DTile::template load<kDecodeSliceKeys, 32>(stage, static_cast<const __nv_bfloat16*>(p.k) + at, kDHead,
                                                 n_keys - first_key, lane);
      DTile::template load<kDecodeSliceKeys, 32>(stage + Shape::kSliceBytes,
                                                 static_cast<const __nv_bfloat16*>(p.v) + at, kDHead,
                                                 n_keys - first_key, lane);
    }
    ptx::cp_async_commit();
  };

  float out[kOutTiles][4] = {};
  float row_max[2] = {-INFINITY, -INFINITY}, row_sum[2] = {};
  const float scale = p.scale * 1.4426950408889634F;
#pragma unroll
  for (int i = 0; i < Shape::kStages - 1; ++i) load_slice(i);
  for (int i = 0; i < n_mine; ++i) {
    load_slice(i + Shape::kStages - 1);
    ptx::cp_async_wait<Shape::kStages - 1>();
    __syncwarp();
    const uint32_t keys = pipeline + i % Shape::kStages * 2 * Shape::kSliceBytes;
    const uint32_t values = keys + Shape::kSliceBytes;

    float scores[2][4] = {};
#pragma unroll
    for (int d = 0; d < kDSteps; ++d) {
      uint32_t b[4];
      ptx::ldmatrix_x4(b, keys + DTile::offset(lane / 16 * 8 + lane % 8, d * 2 + lane / 8 % 2));
      ptx::mma_16x8x16(scores[0], a[d], b[0], b[1]);
      ptx::mma_16x8x16(scores[1], a[d], b[2], b[3]);
    }
    const int n_valid = n_keys - slice_at(i) * kDecodeSliceKeys;
    if (n_valid < kDecodeSliceKeys) {
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int c = 0; c < 4; ++c)
          if (n * 8 + 2 * t + c % 2 >= n_valid) scores[n][c] = -INFINITY;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = fmaxf(fmaxf(scores[0][2 * half], scores[0][2 * half + 1]),
                        fmaxf(scores[1][2 * half], scores[1][2 * half + 1]));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 2));
      top = fmaxf(top * scale, row_max[half]);  // a slice has at least one key, so this is finite
      const float correction = ptx::exp2_approx(row_max[half] - top);
      row_max[half] = top;
      float sum = 0.0F;
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int c = 2 * half; c < 2 * half + 2; ++c) {
          scores[n][c] = ptx::exp2_approx(scores[n][c] * scale - top);
          sum += scores[n][c];
        }
      row_sum[half] = row_sum[half] * correction + sum;
#pragma unroll
      for (int n = 0; n < kOutTiles; ++n) {
        out[n][2 * half] *= correction;
        out[n][2 * half + 1] *= correction;
      }
    }
    const uint32_t probabilities[4] = {
        ptx::pack_bf16(scores[0][0], scores[0][1]), ptx::pack_bf16(scores[0][2], scores[0][3]),
        ptx::pack_bf16(scores[1][0], scores[1][1]), ptx::pack_bf16(scores[1][2], scores[1][3])};
#pragma unroll
    for (int n = 0; n < kOutTiles; n += 2) {
      uint32_t b[4];
      ptx::ldmatrix_x4_transposed(b, values + DTile::offset(lane / 8 % 2 * 8 + lane % 8, n + lane / 16));
      ptx::mma_16x8x16(out[n], probabilities, b[0], b[1]);
      ptx::mma_16x8x16(out[n + 1], probabilities, b[2], b[3]);
    }
    __syncwarp();  // every lane has read this stage before it is loaded again
  }
  ptx::cp_async_wait<0>();
  __syncthreads();  // the pipelines' memory is free for the merge

  auto* merge = reinterpret_cast<float*>(shared);              // [warps][rows][d_head]
  float* stats = merge + kDecodeWarps * kDecodeRows * kDHead;  // [warps][rows][2]
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = row_sum[half];
    sum += __shfl_xor_sync(0xffffffffU, sum, 1);
    sum += __shfl_xor_sync(0xffffffffU, sum, 2);
    const int row = warp * kDecodeRows + g + half * 8;
#pragma unroll
    for (int n = 0; n < kOutTiles; ++n) {
      merge[row * kDHead + n * 8 + 2 * t] = out[n][2 * half];
      merge[row * kDHead + n * 8 + 2 * t + 1] = out[n][2 * half + 1];
    }
    if (t == 0) {
      stats[row * 2] = row_max[half];
      stats[row * 2 + 1] = sum;
    }
  }
  __syncthreads();

  const int n_head_groups = p.n_kv_heads * n_row_groups, slot = sequence * n_head_groups + head_group;
  float* mine =
      p.partials + (static_cast<int64_t>(slot) * p.n_splits + split) * decode_partial_floats(kDHead);
  const Output output(p, first_output);
  for (int i = thread; i < n_rows * kDHead; i += kDecodeWarps * 32) {
    const int row = i / kDHead, d = i % kDHead;
    // Merges the block's own four warps.
    float top = -INFINITY;
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) top = fmaxf(top, stats[(w * kDecodeRows + row) * 2]);
    float sum = 0.0F, total = 0.0F;
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) {
      const int at = w * kDecodeRows + row;
      const float weight = ptx::exp2_approx(stats[at * 2] - top);
      sum += weight * merge[at * kDHead + d];
      total += weight * stats[at * 2 + 1];
    }
    if (n_used_splits == 1) {
      output.put(i, {top, sum, total});
      continue;
    }
    mine[row * (kDHead + 2) + d] = sum;
    if (d == 0) {
      mine[row * (kDHead + 2) + kDHead] = top;
      mine[row * (kDHead + 2) + kDHead + 1] = total;
    }
  }
  if (n_used_splits == 1) return;

  // The block that arrives last merges all splits, in their order.
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (thread == 0) last = atomicAdd(&p.counters[slot], 1) == n_used_splits - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  if (thread == 0) p.counters[slot] = 0;
  const float* first = p.partials + static_cast<int64_t>(slot) * p.n_splits * decode_partial_floats(kDHead);
  for (int i = thread; i < n_rows * kDHead; i += kDecodeWarps * 32) {
    const float* row = first + i / kDHead * (kDHead + 2);
    output.put(i,
               merge_partials(row + i % kDHead, row + kDHead, decode_partial_floats(kDHead), n_used_splits));
  }
}

}  // namespace seer::cuda
