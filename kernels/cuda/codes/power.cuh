// Powers of two by which inputs become float16 numbers.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace seer::cuda {

// Returns the power of two that brings a row's largest magnitude to between 2^14 and 2^15. Then float16
// numbers keep as much as bf16 numbers: all 8 bits down to 2^-28 of the largest, and below that steps of
// 2^-39 of it.
__device__ __forceinline__ float power_for(float largest) {
  const int exponent = static_cast<int>(__float_as_uint(largest) >> 23) - 127;
  if (largest == 0.0F || exponent == 128) return 1.0F;
  return __uint_as_float(static_cast<uint32_t>(min(14 - exponent, 100) + 127) << 23);
}

__device__ __forceinline__ float inverse_of_power(float power) {
  return __uint_as_float((254U << 23) - __float_as_uint(power));
}

}  // namespace seer::cuda
