// Loads and stores of system scope, by which this GPU exchanges data with other GPUs and with the host (PTX
// ISA, "Memory Consistency Model").
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

// A thread that acquires the value sees everything that this thread's block wrote, or saw written, before its
// last barrier.
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

// Each of the four floats is a relaxed load by itself. The load bypasses L1, which does not know what other
// GPUs write.
__device__ __forceinline__ float4 load_relaxed_system(const float4* p) {
  float4 v;
  asm volatile("ld.relaxed.sys.global.v4.f32 {%0, %1, %2, %3}, [%4];\n"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(p));
  return v;
}

}  // namespace seer::cuda::ptx
