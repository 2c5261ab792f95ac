// The keys and values that one warp of decode attention reads, and what it computes with them.
#pragma once

#include "kernels/cuda/attention/paged_decode/shape.cuh"
#include "kernels/cuda/attention/tile.cuh"

namespace seer::cuda {

// A warp's slices, as DecodePlan divides them. Slices come through a ring of the warp's own in shared memory,
// so that warps do not wait for each other. If pages are listed, slices and keys are counted as if the
// sequence had only the listed pages.
template <int kDHead, int kWarps, bool kListed>
struct DecodeSlices {
  using Shape = DecodeShape<kDHead, kWarps>;
  using DTile = Tile<kDHead>;

  const DecodeParams& p;
  const int32_t* table;
  const int32_t* list;  // the kept pages' places in the table, one after another; null: all pages
  int n_keys, kv_head, lane;
  int first, step, n;  // the first slice, the step to the next one, and their number
  uint32_t ring;       // shared address
  bool has_pages;      // whether `pages` is known for the first 32 slices
  int pages;           // lane i has the page of the i-th of 32 slices of this warp that follow one another

  __device__ int slice(int i) const { return first + i * step; }
  __device__ int n_valid(int i) const { return n_keys - slice(i) * kDecodeSliceKeys; }
  __device__ uint32_t keys(int i) const { return ring + i % Shape::kStages * 2 * Shape::kSliceBytes; }
  __device__ uint32_t values(int i) const { return keys(i) + Shape::kSliceBytes; }

  // Whether slice i was written by earlier steps. The last key may be this step's.
  __device__ bool is_old(int i) const { return n_valid(i) > kDecodeSliceKeys; }

  // Asks for slice i, if there is one. Slices must be asked for in order; the caller commits the copies.
  __device__ void copy(int i) {
    if (i % 32 == 0 && i + lane < n && !(has_pages && i == 0)) {
      int block = slice(i + lane) * kDecodeSliceKeys / p.page_tokens;
      if (kListed) block = __ldcg(list + block);
      pages = __ldcg(table + block);
    }
    if (i >= n) return;
    const int first_key = slice(i) * kDecodeSliceKeys;
    const int page = __shfl_sync(0xffffffffU, pages, i % 32);
    const int64_t at =
        ((static_cast<int64_t>(page) * p.n_kv_heads + kv_head) * p.page_tokens + first_key % p.page_tokens) *
        kDHead;
    const auto* k = static_cast<const __nv_bfloat16*>(p.k) + at;
    const auto* v = static_cast<const __nv_bfloat16*>(p.v) + at;
    DTile::template load<kDecodeSliceKeys, 32>(keys(i), k, kDHead, n_valid(i), lane);
    DTile::template load<kDecodeSliceKeys, 32>(values(i), v, kDHead, n_valid(i), lane);
  }
};

// What a warp keeps while it goes over its slices: a softmax over the keys so far. Scores are scaled so that
// a weight is a power of two.
template <int kDHead>
struct DecodeWarp {
  static constexpr int kDSteps = kDHead / 16, kOutTiles = kDHead / 8;
  using DTile = Tile<kDHead>;

  int lane;
  float scale;  // multiplies scores, and includes log2(e), because weights are powers of two
  uint32_t queries[kDSteps][4];
  float out[kOutTiles][4] = {};
  float row_max[2] = {-INFINITY, -INFINITY}, row_sum[2] = {};

  __device__ DecodeWarp(int lane, float scale) : lane(lane), scale(scale * 1.4426950408889634F) {}

  // Loads the queries straight into mma's A layout; rows after the last head are zeros.
  __device__ void load_queries(const __nv_bfloat16* q, int n_rows) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < kDSteps; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int row = g + r % 2 * 8, column = i * 16 + r / 2 * 8 + 2 * t;
        queries[i][r] = row < n_rows ? *reinterpret_cast<const uint32_t*>(q + row * kDHead + column) : 0U;
      }
  }

  // Adds a slice, which has at least one key.
  __device__ void attend(uint32_t keys, uint32_t values, int n_valid) {
    float scores[2][4] = {};
    multiply_keys(scores, keys);
    if (n_valid < kDecodeSliceKeys) {
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int c = 0; c < 4; ++c)
          if (n * 8 + 2 * (lane % 4) + c % 2 >= n_valid) scores[n][c] = -INFINITY;
    }
    softmax(scores);
    add_values(scores, values);
  }

  // Writes the warp's partial result.
  __device__ void store(float* partial) {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = row_sum[half];
      sum += __shfl_xor_sync(0xffffffffU, sum, 1);
      sum += __shfl_xor_sync(0xffffffffU, sum, 2);
      float* row = partial + (g + half * 8) * kDecodeRowFloats<kDHead>;
#pragma unroll
      for (int n = 0; n < kOutTiles; ++n)
        *reinterpret_cast<float2*>(row + n * 8 + 2 * t) = {out[n][2 * half], out[n][2 * half + 1]};
      if (t == 0) *reinterpret_cast<float2*>(row + kDHead) = {row_max[half], sum};
    }
  }

 private:
  __device__ void multiply_keys(float (&scores)[2][4], uint32_t keys) const {
#pragma unroll
    for (int d = 0; d < kDSteps; ++d) {
      uint32_t b[4];
      ptx::ldmatrix_x4(b, keys + DTile::offset(lane / 16 * 8 + lane % 8, d * 2 + lane / 8 % 2));
      ptx::mma_16x8x16(scores[0], queries[d], b[0], b[1]);
      ptx::mma_16x8x16(scores[1], queries[d], b[2], b[3]);
    }
  }

  // Turns scores into weights, relative to the largest score so far, and corrects what was summed before.
  __device__ void softmax(float (&scores)[2][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = fmaxf(fmaxf(scores[0][2 * half], scores[0][2 * half + 1]),
                        fmaxf(scores[1][2 * half], scores[1][2 * half + 1]));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffffU, top, 2));
      top = fmaxf(top * scale, row_max[half]);  // finite, as a slice has at least one key
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
  }

  __device__ void add_values(const float (&weights)[2][4], uint32_t values) {
    const uint32_t a[4] = {
        ptx::pack_bf16(weights[0][0], weights[0][1]), ptx::pack_bf16(weights[0][2], weights[0][3]),
        ptx::pack_bf16(weights[1][0], weights[1][1]), ptx::pack_bf16(weights[1][2], weights[1][3])};
#pragma unroll
    for (int n = 0; n < kOutTiles; n += 2) {
      uint32_t b[4];
      ptx::ldmatrix_x4_transposed(b, values + DTile::offset(lane / 8 % 2 * 8 + lane % 8, n + lane / 16));
      ptx::mma_16x8x16(out[n], a, b[0], b[1]);
      ptx::mma_16x8x16(out[n + 1], a, b[2], b[3]);
    }
  }
};

}  // namespace seer::cuda
