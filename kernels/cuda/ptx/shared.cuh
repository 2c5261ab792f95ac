// Access to shared memory by the 32-bit addresses that PTX instructions take.
#pragma once

#include <cstdint>

namespace seer::cuda::ptx {

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Returns x, but hides from the compiler how it was computed. So the number stays in a register and is not
// computed again at each use.
__device__ __forceinline__ uint32_t opaque(uint32_t x) {
  asm volatile("mov.b32 %0, %0;\n" : "+r"(x));
  return x;
}

__device__ __forceinline__ void load_8(uint32_t shared, uint32_t& low, uint32_t& high) {
  asm volatile("ld.shared.v2.b32 {%0, %1}, [%2];\n" : "=r"(low), "=r"(high) : "r"(shared) : "memory");
}

__device__ __forceinline__ void store_zeros_16(uint32_t shared) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};\n" ::"r"(shared), "r"(0) : "memory");
}

__device__ __forceinline__ void store_8(uint32_t shared, uint32_t low, uint32_t high) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};\n" ::"r"(shared), "r"(low), "r"(high) : "memory");
}

}  // namespace seer::cuda::ptx
