// Asynchronous copies from global to shared memory (sm_80 and newer), 16 or 4 bytes a thread.
#pragma once

#include <cstdint>

#include "kernels/cuda/ptx/shared.cuh"

namespace seer::cuda::ptx {

// Copies 16 bytes, bypassing L1. If `valid` is false, nothing is read and zeros are written.
__device__ __forceinline__ void cp_async_16(uint32_t shared, const void* global, bool valid) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared), "l"(global), "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void cp_async_4(uint32_t shared, const void* global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;\n" ::"r"(shared), "l"(global) : "memory");
}

// Closes a group of this thread's copies. cp_async_wait<N>() waits until at most the N youngest groups are
// unfinished.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kPending) : "memory");
}

}  // namespace seer::cuda::ptx
