// Rows of one head in shared memory, swizzled so that ldmatrix reads eight rows of a column without a bank
// conflict.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/ptx/cp_async.cuh"

namespace seer::cuda {

template <int kDHead>
struct Tile {
  static_assert(kDHead % 32 == 0 && kDHead <= 256);
  static constexpr int kChunks = kDHead / 8;  // 16-byte chunks of a row
  static constexpr int kRowBytes = kDHead * 2;

  // Offset of a chunk. Rows of a multiple of 128 bytes all begin at bank 0, so the row's low three bits
  // permute eight chunks; rows of 64 or 192 bytes begin at bank 0 and 16 in turn, so the next two bits
  // permute four.
  __device__ static uint32_t offset(int row, int chunk) {
    const int swizzled = kChunks % 8 == 0 ? chunk ^ (row & 7) : chunk ^ ((row >> 1) & 3);
    return static_cast<uint32_t>(row * kRowBytes + swizzled * 16);
  }

  // Copies `kRows` rows that lie `stride` elements apart; rows from `n_valid` on become zeros. kThreads
  // threads must call it with `thread` from 0 on, and the caller must commit the copies.
  template <int kRows, int kThreads>
  __device__ static void load(uint32_t shared, const __nv_bfloat16* global, int64_t stride, int n_valid,
                              int thread) {
    static_assert(kRows * kChunks % kThreads == 0);
#pragma unroll
    for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
      const int index = i * kThreads + thread, row = index / kChunks, chunk = index % kChunks;
      const bool valid = row < n_valid;
      ptx::cp_async_16(shared + offset(row, chunk), global + (valid ? row * stride + chunk * 8 : 0), valid);
    }
  }
};

}  // namespace seer::cuda
