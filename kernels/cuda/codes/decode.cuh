// Codes to pairs of bf16, exactly: every E4M3 number, every integer of 8 bits, and the difference of two
// integers of 4 bits is a bf16 number.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

namespace seer::cuda {

constexpr uint32_t kBf16Of128 = 0x43004300;  // two bf16 numbers 128, whose last places are worth 1

__device__ __forceinline__ uint32_t subtract_pair(uint32_t a, uint32_t b) {
  const __nv_bfloat162 d =
      __hsub2(*reinterpret_cast<const __nv_bfloat162*>(&a), *reinterpret_cast<const __nv_bfloat162*>(&b));
  return *reinterpret_cast<const uint32_t*>(&d);
}

// Four codes of 8 bits. low: the first two, the first in the lower half.
__device__ __forceinline__ void decode_e4m3(uint32_t& low, uint32_t& high, uint32_t codes) {
  // Sign, exponent and mantissa of E4M3 are put where bf16 has them. The exponents are then 120 too small;
  // numbers below the normal ones become bf16 numbers below its normal ones, which the product restores too.
  const uint32_t scale = 0x7B807B80;  // 2^120, twice
  const auto decode = [scale](uint32_t v) {
    const uint32_t bits = (v & 0x80008000U) | (v >> 4 & 0x07F007F0U);
    const __nv_bfloat162 p = __hmul2(*reinterpret_cast<const __nv_bfloat162*>(&bits),
                                     *reinterpret_cast<const __nv_bfloat162*>(&scale));
    return *reinterpret_cast<const uint32_t*>(&p);
  };
  low = decode(__byte_perm(codes, 0, 0x1404));
  high = decode(__byte_perm(codes, 0, 0x3424));
}

__device__ __forceinline__ void decode_i8(uint32_t& low, uint32_t& high, uint32_t codes) {
  // The low seven bits add to 128; the sign turns the 128 that is taken away into 256.
  const auto decode = [](uint32_t v) {
    return subtract_pair((v & 0x007F007FU) | kBf16Of128, (v & 0x00800080U) | kBf16Of128);
  };
  low = decode(__byte_perm(codes, 0, 0x4140));
  high = decode(__byte_perm(codes, 0, 0x4342));
}

// Eight codes of 4 bits, in the order of pack.cu. zeros: a pair of 128 + zero.
__device__ __forceinline__ void decode_u4(uint32_t (&pairs)[4], uint32_t codes, uint32_t zeros) {
#pragma unroll
  for (int i = 0; i < 4; ++i) pairs[i] = subtract_pair((codes >> 4 * i & 0x000F000FU) | kBf16Of128, zeros);
}

__device__ __forceinline__ uint32_t zero_pair(uint32_t zero) { return kBf16Of128 | zero | zero << 16; }

}  // namespace seer::cuda
