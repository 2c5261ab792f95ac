// Loads and stores that other GPUs and the host take part in: of system scope (PTX ISA, "Memory Consistency
// Model").
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

// What this thread's block wrote or saw written before a barrier is visible to who acquires the value.
__device__ __forceinline__ void store_release_system(uint32_t* p, uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;\n" ::"l"(p), "r"(value) : "memory");
}

__device__ __forceinline__ uint32_t load_acquire_system(const uint32_t* p) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];\n" : "=r"(value) : "l"(p) : "memory");
  return value;
}

__device__ __forceinline__ uint32_t load_relaxed_system(const uint32_t* p) {
  uint32_t value;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];\n" : "=r"(value) : "l"(p));
  return value;
}

__device__ __forceinline__ float load_relaxed_system(const float* p) {
  float value;
  asm volatile("ld.relaxed.sys.global.f32 %0, [%1];\n" : "=f"(value) : "l"(p));
  return value;
}

// Each of the four floats is relaxed by itself. Past L1, which does not know what other GPUs write.
__device__ __forceinline__ float4 load_relaxed_system(const float4* p) {
  float4 v;
  asm volatile("ld.relaxed.sys.global.v4.f32 {%0, %1, %2, %3}, [%4];\n"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(p));
  return v;
}

}  // namespace seer::cuda::ptx
