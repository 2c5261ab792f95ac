// Copies of contiguous bytes by the bulk copy engine, without tensor maps (sm_90).
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

// The cache policy for data that are read only once: L2 evicts them first.
__device__ __forceinline__ uint64_t evict_first_policy() {
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;\n" : "=l"(policy));
  return policy;
}

// The cache policy for data that all multiprocessors read: L2 evicts them last.
__device__ __forceinline__ uint64_t evict_last_policy() {
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;\n" : "=l"(policy));
  return policy;
}

// Copies `bytes` from global to shared memory, and reports them to `barrier` when they have arrived. One
// thread must call it. Both addresses and `bytes` must be multiples of 16.
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
