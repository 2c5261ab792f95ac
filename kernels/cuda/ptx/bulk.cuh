// The bulk copy engine without tensor maps (sm_90): contiguous bytes.
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

// For what is read once: it leaves L2 before anything else does.
__device__ __forceinline__ uint64_t evict_first_policy() {
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;\n" : "=l"(policy));
  return policy;
}

// Copies `bytes`, a multiple of 16 between 16-byte boundaries, to shared memory; they count for `barrier`.
// One thread.
__device__ __forceinline__ void bulk_load(uint32_t shared, const void* from, uint32_t bytes, uint32_t barrier,
                                          uint64_t policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, "
      "[%3], "
      "%4;\n" ::"r"(shared),
      "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
      : "memory");
}

}  // namespace seer::cuda::ptx
