// How a block of product.cu divides its shared memory, and how inputs come into it.
#pragma once

#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kTileRows = 16;
constexpr int kChunkBytes = kTileRows * 64;  // codes of a chunk of 16 rows
constexpr int kPartialPitch = 20;            // floats from column to column: lanes of a store hit all banks

template <DType kType>
constexpr int kChunkCodes = kType == DType::kU4 ? 128 : 64;

// Elements from row to row of inputs in shared memory, so that two neighbouring rows' accesses of 8 lanes
// meet in no bank: lanes read 64 bytes together for codes of 4 bits, and 16 of every 32 for those of 8.
int64_t shared_pitch(const CodeMatrix& w) {
  const int64_t n_chunks = w.pitch() / CodeMatrix::kChunkBytes;
  return w.type == DType::kU4 ? n_chunks * kChunkCodes<DType::kU4> + 32
                              : n_chunks * kChunkCodes<DType::kI8> + 8;
}

// Stages of a warp's ring. What they hold is multiplied after the last copy has been asked for, while memory
// rests: 4 bits take longer for that than 8.
__host__ __device__ constexpr int stages_of(DType type) { return type == DType::kU4 ? 4 : 6; }

// What follows takes the number of scales that a row's chunk has: 0 if a row has one.
__host__ __device__ constexpr int stage_bytes(int n_parts) { return kChunkBytes + n_parts * kTileRows * 4; }
__host__ __device__ constexpr int ring_bytes(DType type, int n_parts) {
  return kWarps * stages_of(type) * stage_bytes(n_parts);
}

int parts_of(const CodeMatrix& w) {
  if (w.group >= w.d_in) return 0;
  return w.type != DType::kU4 ? 1 : w.group == 32 ? 4 : w.group == 64 ? 2 : 1;
}

int partial_bytes(int n_tiles) { return 2 * kWarps * n_tiles * 8 * kPartialPitch * 4; }

int tiles_of(int64_t n) { return n <= 8 ? 1 : 2; }

// Dynamic shared memory: the ring, two sets of the warps' partial sums, and the inputs and the norm if they
// fit.
struct SharedSizes {
  int64_t x_pitch = 0;  // 0: inputs stay in global memory
  int64_t bytes = 0;

  SharedSizes(const CodeMatrix& w, int64_t n, bool norm, int64_t max_shared_bytes) {
    bytes = ring_bytes(w.type, parts_of(w)) + partial_bytes(tiles_of(n));
    const int64_t pitch = shared_pitch(w), inputs = (n + (norm ? 1 : 0)) * pitch * 2;
    if (bytes + inputs > max_shared_bytes) return;
    x_pitch = pitch;
    bytes += inputs;
  }
};

struct Kernel {
  CodeRowsParams p;
  int64_t pitch;
  int d_out, n_groups;
  int group_shift;  // a group has 1 << group_shift chunks, or a chunk has several groups
  int64_t x_pitch;  // of inputs in shared memory, or 0

  // Where the scales of part `part` of a chunk that has kParts begin, and its zeros.
  template <int kParts>
  __device__ __forceinline__ int group_begin(int chunk, int part) const {
    const int group = kParts > 1 ? min(chunk * kParts + part, n_groups - 1) : chunk >> group_shift;
    return group * d_out;
  }
  // The row of the weight in row i of a tile.
  __device__ __forceinline__ int weight_row(int tile, int i) const {
    if (!p.swiglu) return min(tile * kTileRows + i, d_out - 1);
    const int half = d_out / 2;
    return min(tile * 8 + i % 8, half - 1) + (i < 8 ? 0 : half);
  }
};

// The power of two that brings a row's largest magnitude to between 2^14 and 2^15, so that float16 numbers
// keep what bf16 numbers have: all 8 bits down to 2^-28 of the largest, and 2^-39 of it as the last place
// below.
__device__ __forceinline__ float float16_factor(float largest) {
  const int exponent = static_cast<int>(__float_as_uint(largest) >> 23) - 127;
  if (largest == 0.0F || exponent == 128) return 1.0F;
  return __uint_as_float(static_cast<uint32_t>(min(14 - exponent, 100) + 127) << 23);
}

// What the warps tell each other while inputs are staged, and the result's factor of each row.
struct Staging {
  float squares[kWarps], largest[kWarps];
  float factor[kMostCodeRows];
};

// Copies the inputs to shared memory as float16 numbers, with zeros after each row. Each row is multiplied by
// a power of two, whose inverse is its factor. If there is a norm, which shared memory holds already, rows
// are normalised and rounded to bf16 first. The warps divide the rows.
__device__ void stage_inputs(__half* shared, const Bf16* norm, Staging* staging, const Kernel& k) {
  const CodeRowsParams& p = k.p;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  int warps_a_row = kWarps;
  while (warps_a_row > 1 && warps_a_row * p.n > kWarps) warps_a_row /= 2;
  const int rows_at_once = kWarps / warps_a_row, part = warp % warps_a_row;
  const int begin = (part * 32 + lane) * 8, step = warps_a_row * 256, d_in = static_cast<int>(p.w.d_in);
  for (int first = 0; first < p.n; first += rows_at_once) {
    const int row = first + warp / warps_a_row;
    const bool mine = row < p.n;
    const Bf16* x = static_cast<const Bf16*>(p.x) + static_cast<int64_t>(row) * d_in;
    auto* out = reinterpret_cast<Bf16*>(shared + row * k.x_pitch);  // bf16 until the factor is known
    float sum = 0.0F, largest = 0.0F;
    for (int i = begin; mine && i < d_in; i += step) {
      const Bf16x8 v = load8(x + i);
      store8(out + i, v);
      float f[8];
      v.to_floats(f);
      largest = fmaxf(largest, largest_magnitude(f));
#pragma unroll
      for (const float e : f) sum += e * e;
    }
    if (norm != nullptr) {
      sum = warp_sum(sum);
      if (lane == 0) staging->squares[warp] = sum;
      __syncthreads();
      sum = 0.0F;
      for (int w = warp - part; w < warp - part + warps_a_row; ++w) sum += staging->squares[w];
      const float scale = rsqrtf(sum / static_cast<float>(d_in) + p.eps);
      largest = 0.0F;
      for (int i = begin; mine && i < d_in; i += step) {
        float f[8], w[8];
        load8(out + i).to_floats(f);  // this thread's own
        load8(norm + i).to_floats(w);
#pragma unroll
        for (int e = 0; e < 8; ++e) f[e] *= scale * w[e];
        const Bf16x8 v = Bf16x8::from_floats(f);
        v.to_floats(f);
        largest = fmaxf(largest, largest_magnitude(f));
        store8(out + i, v);
      }
    }
    largest = warp_max(largest);
    if (lane == 0) staging->largest[warp] = largest;
    __syncthreads();
    for (int w = warp - part; w < warp - part + warps_a_row; ++w)
      largest = fmaxf(largest, staging->largest[w]);
    const float factor = float16_factor(largest);
    if (mine && part == 0 && lane == 0) staging->factor[row] = 1.0F / factor;
    for (int i = begin; mine && i < k.x_pitch; i += step) {
      float f[8] = {};
      if (i < d_in) load8(out + i).to_floats(f);
      alignas(16) __half2 pairs[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) pairs[e] = __floats2half2_rn(f[2 * e] * factor, f[2 * e + 1] * factor);
      *reinterpret_cast<uint4*>(out + i) = *reinterpret_cast<const uint4*>(pairs);
    }
    __syncthreads();  // `staging` is used again
  }
}

}  // namespace
}  // namespace seer::cuda
