// Bringing memory into L2 ahead of its use.
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

// Asks for `bytes` (a multiple of 16) from a 16-byte boundary on; one thread asks for all of them. GPUs
// before sm_90 have no such instruction and do nothing.
__device__ __forceinline__ void prefetch_l2(const void* p, uint32_t bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;\n" ::"l"(p), "r"(bytes) : "memory");
#endif
}

// Asks for the line that holds p.
__device__ __forceinline__ void prefetch_l2_line(const void* p) {
  asm volatile("prefetch.global.L2 [%0];\n" ::"l"(p) : "memory");
}

}  // namespace seer::cuda::ptx
