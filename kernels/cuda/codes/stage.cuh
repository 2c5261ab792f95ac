// How a block of product.cu divides its shared memory, and how it loads its inputs.
#pragma once

#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/codes/codes.h"
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

// The stages of a warp's ring. The first kEarlyStages are filled before the inputs are asked for, since
// inputs arrive after everything that was asked for before them. After the last copy has been asked for, the
// content of the ring is multiplied while memory rests, so the ring is small.
constexpr int kStages = 3, kEarlyStages = 1;

// The following functions take the number of scales in a row's chunk; 0 if a row has one scale.
__host__ __device__ constexpr int stage_bytes(DType type, int n_parts) {
  return kTileRows * (row_bytes(type) + n_parts * 4);
}
__host__ __device__ constexpr int ring_bytes(DType type, int n_parts) {
  return kWarps * kStages * stage_bytes(type, n_parts);
}

int parts_of(const CodeMatrix& w) {
  return w.group >= w.d_in ? 0 : std::max(1, static_cast<int>(kChunkCodes / w.group));
}

// Returns how many tiles' sums the warps exchange with one barrier: as many for one row as take no more
// memory than for eight rows.
__host__ __device__ constexpr int tiles_a_batch(int n_rows) { return n_rows <= 2 ? 4 : n_rows <= 4 ? 2 : 1; }

// Returns for how many batches there is memory. With two, one is added up while the other is written. With
// many rows, one batch takes as much memory as two do otherwise.
__host__ __device__ constexpr int batches(int n_rows) { return n_rows <= 8 ? 2 : 1; }

// Return the floats of the warps' partial sums of one tile, and the bytes of all batches.
__host__ __device__ constexpr int partial_floats(int n_rows) { return kWarps * n_rows * kPartialPitch; }
__host__ __device__ constexpr int partial_bytes(int n_rows) {
  return batches(n_rows) * tiles_a_batch(n_rows) * partial_floats(n_rows) * 4;
}

int tiles_of(int64_t n) { return n <= 8 ? 1 : 2; }

// The dynamic shared memory: the ring, the warps' partial sums, and the inputs and the norm if they fit.
struct SharedSizes {
  int64_t x_pitch = 0;  // 0: inputs stay in global memory
  int64_t bytes = 0;

  SharedSizes(const CodeMatrix& w, int64_t n, bool norm, int64_t max_shared_bytes) {
    bytes = ring_bytes(w.type, parts_of(w)) + partial_bytes(static_cast<int>(n));
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
  int group_shift;   // a group has 1 << group_shift chunks, or a chunk has several groups
  int64_t x_pitch;   // of inputs in shared memory, or 0
  float norm_bound;  // no normalised element is larger than this times the largest weight of the norm
  int per_tile;  // outputs of a tile: kTileRows, or half of them if each takes a row of gate and one of up
  int upper;  // the distance in rows of the weight between the first row of a tile and the first of its upper
              // half

  // Returns the index at which the scales (and zeros) of part `part` of a chunk with kParts parts begin.
  template <int kParts>
  __device__ __forceinline__ int group_begin(int chunk, int part) const {
    const int group = kParts > 1 ? min(chunk * kParts + part, n_groups - 1) : chunk >> group_shift;
    return group * d_out;
  }
  // Returns the row of the weight for row i of a tile. In a partial tile it may lie after the last row.
  __device__ __forceinline__ int weight_row(int tile, int i) const {
    return tile * per_tile + i % (kTileRows / 2) + i / (kTileRows / 2) * upper;
  }
};

// Returns the power of two that brings a row's largest magnitude to between 2^14 and 2^15. Then float16
// numbers keep as much as bf16 numbers: all 8 bits down to 2^-28 of the largest, and below that steps of
// 2^-39 of it.
__device__ __forceinline__ float power_for(float largest) {
  const int exponent = static_cast<int>(__float_as_uint(largest) >> 23) - 127;
  if (largest == 0.0F || exponent == 128) return 1.0F;
  return __uint_as_float(static_cast<uint32_t>(min(14 - exponent, 100) + 127) << 23);
}

__device__ __forceinline__ float inverse_of_power(float power) {
  return __uint_as_float((254U << 23) - __float_as_uint(power));
}

// The values that threads exchange while inputs are staged.
struct Staging {
  uint64_t arrived;             // a barrier: the inputs have arrived in shared memory, unchanged
  float norm_of_warp[kWarps];   // the largest magnitude among the warp's weights of the norm
  float scale[kMostCodeRows];   // the scale of each row's norm
  float power[kMostCodeRows];   // the power of two by which a row becomes float16 numbers
  float factor[kMostCodeRows];  // the factor of the row's results: the inverse of the power
};

// The elements that a thread stages, eight at a time and row by row. Thread t has those at 8 t, 8 t + 4096
// and so on of every row, so that sums over a row do not depend on the number of rows.
struct Place {
  int at = static_cast<int>(threadIdx.x) * 8;
  int row = 0;
  int row_begin = 0;  // in shared memory, in elements

  static constexpr int kStep = kThreads * 8;
  __device__ static int count(int n_rows, int width) { return n_rows * ((width + kStep - 1) / kStep); }
  // Advances, and returns whether the previous elements were the row's last.
  __device__ __forceinline__ bool next(int width, int pitch) {
    at += kStep;
    if (at - static_cast<int>(threadIdx.x) * 8 < width) return false;
    at = static_cast<int>(threadIdx.x) * 8;
    row_begin += pitch;
    ++row;
    return true;
  }
};

// Each block reads the following code from memory and executes it once, at a time when no product can begin.
// So loops are not unrolled: instructions that are not in a multiprocessor's cache take longer to arrive than
// to execute. With unrolled loops the kernel had 49 KB, and 0.35 us of such instructions before each barrier.

// Stages the data that do not depend on the kernels before this one: the norm's weights, and zeros after each
// row.
__device__ __forceinline__ void stage_constants(__half* shared, Bf16* norm, Staging* staging,
                                                const Kernel& k) {
  const CodeRowsParams& p = k.p;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int d_in = static_cast<int>(p.w.d_in), pitch = static_cast<int>(k.x_pitch);
#if __CUDA_ARCH__ >= 900
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(ptx::shared_address(&staging->arrived), 1);
    ptx::fence_barrier_init();
  }
#endif
  if (const int after = d_in + static_cast<int>(threadIdx.x) * 8; after < pitch)
#pragma unroll 1
    for (int row = 0; row < p.n; ++row)
      *reinterpret_cast<uint4*>(shared + row * pitch + after) = uint4{0, 0, 0, 0};
  if (p.norm == nullptr) return;
  float largest = 0.0F;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x) * 8; i < d_in; i += kThreads * 8) {
    const Bf16x8 v = load8(static_cast<const Bf16*>(p.norm) + i);
    store8(norm + i, v);
    largest = fmaxf(largest, largest_magnitude(v));
  }
  largest = warp_max(largest);
  if (lane == 0) staging->norm_of_warp[warp] = largest;
}

// Asks the copy engine, if there is one, for the inputs without change.
__device__ __forceinline__ void ask_for_inputs([[maybe_unused]] __half* shared,
                                               [[maybe_unused]] Staging* staging,
                                               [[maybe_unused]] const Kernel& k) {
#if __CUDA_ARCH__ >= 900
  if (threadIdx.x != 0) return;
  const CodeRowsParams& p = k.p;
  const int d_in = static_cast<int>(p.w.d_in), pitch = static_cast<int>(k.x_pitch);
  const auto* x = static_cast<const Bf16*>(p.x);
  const uint32_t barrier = ptx::shared_address(&staging->arrived);
  ptx::mbarrier_arrive_expect(barrier, p.n * d_in * 2);
  const uint64_t policy = ptx::evict_last_policy();
#pragma unroll 1
  for (int row = 0; row < p.n; ++row)
    ptx::bulk_load(ptx::shared_address(shared + row * pitch), x + row * d_in, d_in * 2, barrier, policy);
#endif
}

// After this call the inputs are in shared memory, unchanged.
__device__ __forceinline__ void wait_for_inputs([[maybe_unused]] __half* shared,
                                                [[maybe_unused]] Staging* staging,
                                                [[maybe_unused]] const Kernel& k) {
#if __CUDA_ARCH__ >= 900
  ptx::mbarrier_wait(ptx::shared_address(&staging->arrived), 0);
#else
  const CodeRowsParams& p = k.p;
  const int d_in = static_cast<int>(p.w.d_in), pitch = static_cast<int>(k.x_pitch);
  const auto* x = static_cast<const Bf16*>(p.x);
  // Eight loads are started before the first is used. One after another, each would take as long as all
  // together.
  constexpr int kLoads = 8;
  const int n_loads = Place::count(p.n, d_in);
  Place load, use;
  for (int first = 0; first < n_loads; first += kLoads) {
    Bf16x8 v[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      if (first + j >= n_loads) break;
      if (load.at < d_in) v[j] = load8(x + load.row * d_in + load.at);
      load.next(d_in, pitch);
    }
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      if (first + j >= n_loads) break;
      if (use.at < d_in) store8(shared + use.row_begin + use.at, v[j]);
      use.next(d_in, pitch);
    }
  }
#endif
}

// Writes to lanes[row] the sums of the squares of two threads' elements if there is a norm, else their
// largest magnitudes.
constexpr int kPairs = kThreads / 2;  // pairs of lanes l and l + 16 of a warp

__device__ __forceinline__ void measure_inputs(const __half* shared, float* lanes, const Kernel& k) {
  const int d_in = static_cast<int>(k.p.w.d_in), pitch = static_cast<int>(k.x_pitch);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const bool squares = k.p.norm != nullptr;
  Place place;
  float of_row = 0.0F;
#pragma unroll 1
  while (place.row < k.p.n) {
    if (place.at < d_in) {
      const Bf16x8 v = load8(shared + place.row_begin + place.at);
      if (squares) {
        float f[8];
        v.to_floats(f);
#pragma unroll
        for (const float e : f) of_row += e * e;
      } else {
        of_row = fmaxf(of_row, largest_magnitude(v));
      }
    }
    const int row = place.row;
    if (!place.next(d_in, pitch)) continue;
    const float other = __shfl_xor_sync(0xFFFFFFFFU, of_row, 16);
    if (lane < 16) lanes[row * kPairs + warp * 16 + lane] = squares ? of_row + other : fmaxf(of_row, other);
    of_row = 0.0F;
  }
}

// Warp w chooses the norm's scale and the power of two for row w.
__device__ __forceinline__ void choose_powers(const float* lanes, Staging* staging, const Kernel& k) {
  static_assert(kMostCodeRows <= kWarps, "a warp for each row");
  const int row = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= k.p.n) return;
  float sum = 0.0F, largest = 0.0F;
#pragma unroll
  for (int i = lane; i < kPairs; i += 32) {
    const float of_pair = lanes[row * kPairs + i];
    sum += of_pair;
    largest = fmaxf(largest, of_pair);
  }
  if (k.p.norm != nullptr) {
    sum = warp_sum(sum);
    if (lane == 0) staging->scale[row] = rsqrtf(sum / static_cast<float>(k.p.w.d_in) + k.p.eps);
    largest = staging->norm_of_warp[lane % kWarps] * k.norm_bound;
  }
  largest = warp_max(largest);
  if (lane != 0) return;
  const float power = power_for(largest);
  staging->power[row] = power;
  staging->factor[row] = inverse_of_power(power);
}

// Turns the inputs in shared memory into float16 numbers, after normalising them and rounding them to bf16 if
// there is a norm.
__device__ __forceinline__ void convert_inputs(__half* shared, const Bf16* norm, const Staging& staging,
                                               const Kernel& k) {
  const int d_in = static_cast<int>(k.p.w.d_in), pitch = static_cast<int>(k.x_pitch);
#pragma unroll 1
  for (Place place; place.row < k.p.n; place.next(d_in, pitch)) {
    if (place.at >= d_in) continue;
    __half* at = shared + place.row_begin + place.at;
    float f[8];
    load8(at).to_floats(f);
    if (norm != nullptr) {
      float weights[8];
      load8(norm + place.at).to_floats(weights);
      const float scale = staging.scale[place.row];
#pragma unroll
      for (int e = 0; e < 8; ++e) f[e] *= scale * weights[e];
      Bf16x8::from_floats(f).to_floats(f);
    }
    const float power = staging.power[place.row];
    alignas(16) __half2 pairs[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) pairs[e] = __floats2half2_rn(f[2 * e] * power, f[2 * e + 1] * power);
    *reinterpret_cast<uint4*>(at) = *reinterpret_cast<const uint4*>(pairs);
  }
}

// Turns the inputs in shared memory into float16 numbers. Each row is multiplied by a power of two, whose
// inverse is its factor. If there is a norm, rows are normalised and rounded to bf16 first. Call it after
// stage_constants() and ask_for_inputs(), with a barrier of all threads between these. `lanes` has room for a
// float for each thread and row.
__device__ __forceinline__ void stage_inputs(__half* shared, const Bf16* norm, Staging* staging, float* lanes,
                                             const Kernel& k) {
  wait_for_inputs(shared, staging, k);
  measure_inputs(shared, lanes, k);
  __syncthreads();
  choose_powers(lanes, staging, k);
  __syncthreads();
  convert_inputs(shared, norm, *staging, k);
  __syncthreads();
}

}  // namespace
}  // namespace seer::cuda
