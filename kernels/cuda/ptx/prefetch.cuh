// Brings memory into L2 before it is used.
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

// Asks for `bytes` bytes from p on; both must be multiples of 16. One thread asks for all of them. Does
// nothing on GPUs before sm_90, which have no such instruction.
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
