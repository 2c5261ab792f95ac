// Thread block clusters (sm_90): blocks that run at the same time and read each other's shared memory (PTX
// ISA, "barrier.cluster" and "mapa"). Older GPUs have none, so these functions do not exist for them.
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

#if __CUDA_ARCH__ >= 900

// cluster_wait() returns after all threads of the cluster have called cluster_arrive() or have ended. What
// they wrote to shared memory before is visible then.
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;\n" ::: "memory");
}

// Returns the address of the same place in the shared memory of the cluster's block `rank`.
__device__ __forceinline__ uint32_t map_shared(uint32_t shared, uint32_t rank) {
  uint32_t mapped;
  asm("mapa.shared::cluster.u32 %0, %1, %2;\n" : "=r"(mapped) : "r"(shared), "r"(rank));
  return mapped;
}

// Loads from an address that map_shared() returned.
__device__ __forceinline__ float load_cluster(uint32_t mapped) {
  float value;
  asm volatile("ld.shared::cluster.f32 %0, [%1];\n" : "=f"(value) : "r"(mapped) : "memory");
  return value;
}

// Stores to an address that map_shared() returned.
__device__ __forceinline__ void store_cluster(uint32_t mapped, uint32_t value) {
  asm volatile("st.shared::cluster.u32 [%0], %1;\n" ::"r"(mapped), "r"(value) : "memory");
}

// Returns how many blocks the cluster has.
__device__ __forceinline__ uint32_t n_cluster_blocks() {
  uint32_t n;
  asm("mov.u32 %0, %%cluster_nctaid.x;\n" : "=r"(n));
  return n;
}

#endif

}  // namespace seer::cuda::ptx
