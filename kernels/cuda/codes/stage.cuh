// How a block of product.cu divides its shared memory, and how it loads its inputs.
#pragma once

#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/codes/codes.h"
#include "kernels/cuda/codes/power.cuh"
#include "kernels/cuda/ptx/bulk.cuh"
#include "kernels/cuda/ptx/mbarrier.cuh"
#include "kernels/cuda/ptx/shared.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

using Bf16 = __nv_bfloat16;

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr int kTileRows = CodeMatrix::kTileRows;
constexpr int kChunkCodes = CodeMatrix::kChunkCodes;  // codes of one row that a warp multiplies at a time
constexpr int kPartialPitch = 20;  // floats from column to column, chosen so that the lanes of a store hit
                                   // all banks

// Returns the bytes of a row's chunk.
__host__ __device__ constexpr int row_bytes(DType type) { return type == DType::kU4 ? 64 : 128; }

// Returns the elements from row to row of inputs in shared memory. They are chosen so that the accesses of 8
// lanes to two neighbouring rows meet in no bank: lanes read 64 bytes together for codes of 4 bits, and 16 of
// every 32 bytes for codes of 8 bits.
int64_t shared_pitch(const CodeMatrix& w) {
  const int64_t n_chunks = (w.d_in + kChunkCodes - 1) / kChunkCodes;
  return n_chunks * kChunkCodes + (w.type == DType::kU4 ? 32 : 8);
}

// The stages of a warp's ring. Only the first kEarlyStages are filled before the inputs are asked for, since
// memory brings the inputs after everything that was asked for before them. After the last copy has arrived,
// the content of the ring is multiplied while memory rests, so the ring is small.
constexpr int kStages = 3, kEarlyStages = 1;

// `n_chunk_groups` is the number of scales that a row has in one chunk; 0 if a row has a single scale.
__host__ __device__ constexpr int stage_bytes(DType type, int n_chunk_groups) {
  return kTileRows * (row_bytes(type) + n_chunk_groups * 4);
}
__host__ __device__ constexpr int ring_bytes(DType type, int n_chunk_groups) {
  return kWarps * kStages * stage_bytes(type, n_chunk_groups);
}

int chunk_groups(const CodeMatrix& w) {
  return w.group >= w.d_in ? 0 : std::max(1, static_cast<int>(kChunkCodes / w.group));
}

// Returns how many tiles' sums the warps exchange with one barrier: so many that they take no more memory
// than the sums of one tile for eight rows do.
__host__ __device__ constexpr int tiles_a_batch(int n_rows) { return n_rows <= 2 ? 4 : n_rows <= 4 ? 2 : 1; }

// Returns for how many batches there is memory. With two, one is added up while the other is written. For
// 9 to 16 rows, one batch takes as much memory as two batches for up to eight rows.
__host__ __device__ constexpr int batches(int n_rows) { return n_rows <= 8 ? 2 : 1; }

// Return the floats of the warps' partial sums of one tile, and the bytes of all batches.
__host__ __device__ constexpr int partial_floats(int n_rows) { return kWarps * n_rows * kPartialPitch; }
__host__ __device__ constexpr int partial_bytes(int n_rows) {
  return batches(n_rows) * tiles_a_batch(n_rows) * partial_floats(n_rows) * 4;
}

// Returns into how many tiles of eight rows (the columns of an mma) n rows of inputs are divided.
int tiles_of(int64_t n) { return n <= 8 ? 1 : 2; }

// The dynamic shared memory: the ring, the warps' partial sums, and the inputs and the norm if they fit.
struct SharedSizes {
  int64_t x_pitch = 0;  // 0: inputs stay in global memory
  int64_t bytes = 0;

  SharedSizes(const CodeMatrix& w, int64_t n, bool norm, int64_t max_shared_bytes) {
    bytes = ring_bytes(w.type, chunk_groups(w)) + partial_bytes(static_cast<int>(n));
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
  int group_shift;  // a group has 1 << group_shift chunks; unused if a chunk has several groups
  int64_t x_pitch;  // of inputs in shared memory, or 0
  int per_tile;     // outputs of a tile: kTileRows, or half of them if each takes a row of gate and one of up
  int upper;  // the distance in rows of the weight between the first row of a tile and the first of its upper
              // half

  // Codes of a chunk that share a scale are a group; a chunk has kChunkGroups of them, or is within one.
  // Returns the index at which the scales (and zeros) of the chunk's group i begin.
  template <int kChunkGroups>
  __device__ __forceinline__ int group_begin(int chunk, int i) const {
    const int group = kChunkGroups > 1 ? min(chunk * kChunkGroups + i, n_groups - 1) : chunk >> group_shift;
    return group * d_out;
  }
  // Returns the row of the weight for row i of a tile. In a partial tile it may lie after the last row.
  __device__ __forceinline__ int weight_row(int tile, int i) const {
    return tile * per_tile + i % (kTileRows / 2) + i / (kTileRows / 2) * upper;
  }
};

// The values that warps exchange. They do not exchange inputs: each warp stages those that it multiplies.
struct Staging {
  uint64_t arrived[kWarps];  // barriers: the warp's inputs have arrived in shared memory, unchanged
  float squares[kMostCodeRows][kWarps];  // the sum of the squares of a warp's inputs in a row, for its norm
  float factor[kMostCodeRows];           // the scale of each row's norm, known after the first barrier
};

// The inputs of one warp: in each row, the chunks that it will multiply. It stages them without waiting for
// other warps, and multiplies them by a power of two of its own for each row. A norm's scale is a factor of
// the row's results, so it can be found later.
//
// Each block reads this code from memory and executes it once, at a time when no product can begin. So loops
// are not unrolled: instructions that are not in a multiprocessor's cache take longer to arrive than to
// execute.
struct WarpInputs {
  const Kernel& k;
  __half* shared;  // float16 [n, x_pitch]; this warp writes only its own chunks
  Bf16* norm;      // [x_pitch] in shared memory; only its own chunks too; null without a norm
  Staging* staging;
  int warp, lane, d_in;
  int n_chunks;          // of this warp, in each row
  float largest_weight;  // the largest magnitude of this warp's weights of the norm; 1 without a norm

  __device__ __forceinline__ WarpInputs(const Kernel& k, __half* shared, Staging* staging, int warp, int lane)
      : k(k),
        shared(shared),
        norm(k.p.norm == nullptr ? nullptr : reinterpret_cast<Bf16*>(shared + k.p.n * k.x_pitch)),
        staging(staging),
        warp(warp),
        lane(lane),
        d_in(static_cast<int>(k.p.w.d_in)),
        largest_weight(1.0F) {
    const int of_row = (d_in + kChunkCodes - 1) / kChunkCodes;
    n_chunks = max(0, (of_row - warp + kWarps - 1) / kWarps);
  }

  // Returns the place in a row of this warp's i-th piece, of eight inputs. Lane l takes pieces l, l + 32 and
  // so on, so that sums over a row do not depend on the number of rows.
  static constexpr int kPieces = kChunkCodes / 8;  // of a chunk
  __device__ __forceinline__ int place(int i) const {
    return (warp + i / kPieces * kWarps) * kChunkCodes + i % kPieces * 8;
  }
  __device__ __forceinline__ int n_pieces() const { return n_chunks * kPieces; }

  // Stages what does not depend on the kernels before this one.
  __device__ __forceinline__ void begin() {
#if __CUDA_ARCH__ >= 900
    if (lane == 0) {
      ptx::mbarrier_init(ptx::shared_address(&staging->arrived[warp]), 1);
      ptx::fence_barrier_init();
    }
    __syncwarp();
#endif
    if (norm == nullptr) return;
    float largest = 0.0F;
#pragma unroll 1
    for (int i = lane; i < n_pieces(); i += 32) {
      const int at = place(i);
      if (at >= d_in) break;
      const Bf16x8 v = load8(static_cast<const Bf16*>(k.p.norm) + at);
      store8(norm + at, v);
      largest = fmaxf(largest, largest_magnitude(v));
    }
    largest_weight = largest_of_warp(largest);
  }

  // Asks the copy engine, if there is one, to bring the inputs as they are.
  __device__ __forceinline__ void ask() const {
#if __CUDA_ARCH__ >= 900
    const auto* x = static_cast<const Bf16*>(k.p.x);
    const int pitch = static_cast<int>(k.x_pitch), last = warp + (n_chunks - 1) * kWarps;
    const int after_end = n_chunks == 0 ? 0 : max(0, (last + 1) * kChunkCodes - d_in);
    const uint32_t barrier = ptx::shared_address(&staging->arrived[warp]);
    if (lane == 0) ptx::mbarrier_arrive_expect(barrier, k.p.n * (n_chunks * kChunkCodes - after_end) * 2);
    __syncwarp();
    const uint64_t policy = ptx::evict_last_policy();
#pragma unroll 1
    for (int i = lane; i < k.p.n * n_chunks; i += 32) {
      const int row = i / n_chunks, at = (warp + i % n_chunks * kWarps) * kChunkCodes;
      ptx::bulk_load(ptx::shared_address(shared + row * pitch + at), x + row * d_in + at,
                     min(kChunkCodes, d_in - at) * 2, barrier, policy);
    }
#endif
  }

  // After this call the inputs are in shared memory as float16 numbers. inverse[i][e] gets the inverse of the
  // power of two of row 8 i + column + e.
  template <int kTiles>
  __device__ __forceinline__ void finish(float (&inverse)[kTiles][2], int column) const {
    wait();
#pragma unroll 1
    for (int row = 0; row < k.p.n; ++row) {
      __half* of_row = shared + row * static_cast<int>(k.x_pitch);
      const float power = power_for(measure(of_row, row));
#pragma unroll
      for (int i = 0; i < kTiles; ++i)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (row == i * 8 + column + e) inverse[i][e] = inverse_of_power(power);
      convert(of_row, power);
    }
    __syncwarp();
  }

 private:
  __device__ __forceinline__ void wait() const {
#if __CUDA_ARCH__ >= 900
    ptx::mbarrier_wait(ptx::shared_address(&staging->arrived[warp]), 0);
#else
    // Eight loads are started before the first is used, so that eight take as long as one.
    constexpr int kLoads = 8;
    const auto* x = static_cast<const Bf16*>(k.p.x);
    const int pitch = static_cast<int>(k.x_pitch), n = k.p.n * n_pieces();
    for (int first = lane; first < n; first += kLoads * 32) {
      Bf16x8 v[kLoads];
#pragma unroll
      for (int j = 0; j < kLoads; ++j)
        if (const int i = first + j * 32; i < n && place(i % n_pieces()) < d_in)
          v[j] = load8(x + i / n_pieces() * d_in + place(i % n_pieces()));
#pragma unroll
      for (int j = 0; j < kLoads; ++j)
        if (const int i = first + j * 32; i < n && place(i % n_pieces()) < d_in)
          store8(shared + i / n_pieces() * pitch + place(i % n_pieces()), v[j]);
    }
    __syncwarp();
#endif
  }

  // Returns the largest of the lanes' magnitudes. It compares them as integers: the bits of numbers that are
  // not negative have the same order as the numbers.
  __device__ __forceinline__ static float largest_of_warp(float largest) {
    return __uint_as_float(__reduce_max_sync(0xFFFFFFFFU, __float_as_uint(largest)));
  }

  // Returns a bound of the magnitudes of the warp's inputs in a row, times the norm's weights. If there is a
  // norm, adds up the squares of the inputs.
  __device__ __forceinline__ float measure(const __half* of_row, int row) const {
    float largest = 0.0F, squares = 0.0F;
#pragma unroll 1
    for (int i = lane; i < n_pieces(); i += 32) {
      const int at = place(i);
      if (at >= d_in) break;
      const Bf16x8 v = load8(of_row + at);
      largest = fmaxf(largest, largest_magnitude(v));
      if (norm == nullptr) continue;
      float f[8];
      v.to_floats(f);
#pragma unroll
      for (const float e : f) squares += e * e;
    }
    if (norm != nullptr) {
      squares = warp_sum(squares);
      if (lane == 0) staging->squares[row][warp] = squares;
    }
    return largest_of_warp(largest) * largest_weight;
  }

  // Multiplies a row's inputs by `power` and writes zeros after the last.
  __device__ __forceinline__ void convert(__half* of_row, float power) const {
#pragma unroll 1
    for (int i = lane; i < n_pieces(); i += 32) {
      const int at = place(i);
      alignas(16) __half2 pairs[4] = {};
      if (at < d_in) {
        float f[8], weights[8];
        load8(of_row + at).to_floats(f);
        if (norm != nullptr) {
          load8(norm + at).to_floats(weights);
#pragma unroll
          for (int e = 0; e < 8; ++e) f[e] *= weights[e];
        }
#pragma unroll
        for (int e = 0; e < 4; ++e) pairs[e] = __floats2half2_rn(f[2 * e] * power, f[2 * e + 1] * power);
      }
      *reinterpret_cast<uint4*>(of_row + at) = *reinterpret_cast<const uint4*>(pairs);
    }
  }
};

// Returns the scale of a row's norm, by which its results are multiplied. Call it after a barrier of all
// threads that follows WarpInputs::finish().
__device__ __forceinline__ float norm_scale(const Staging& staging, int row, const CodeRowsParams& p) {
  float squares = 0.0F;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) squares += staging.squares[row][w];
  return rsqrtf(squares / static_cast<float>(p.w.d_in) + p.eps);
}

}  // namespace
}  // namespace seer::cuda
