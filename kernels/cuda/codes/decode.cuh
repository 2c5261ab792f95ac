// Turns codes into pairs of 16-bit floats, without rounding: every E4M3 number, every integer of 8 bits, and
// the difference of two integers of 4 bits is a bf16 number and a float16 number.
//
// Float16 takes fewer instructions: the GPU converts E4M3 to it (four codes in two instructions), and its
// mantissa of 10 bits holds two codes of 4 bits without a shift.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/tensor.h"

namespace seer::cuda {

constexpr uint32_t kBf16Of128 = 0x43004300;  // two bf16 numbers 128; their last bits have the value 1
constexpr uint32_t kF16Of1024 = 0x64006400;  // two float16 numbers 1024; their last bits have the value 1

template <class Pair>
__device__ __forceinline__ Pair as_pair(uint32_t bits) {
  return *reinterpret_cast<const Pair*>(&bits);
}
template <class Pair>
__device__ __forceinline__ uint32_t bits_of(const Pair& pair) {
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// The zero that is subtracted from a pair of codes of 4 bits.
template <class Pair>
struct ZeroPair;
template <>
struct ZeroPair<__nv_bfloat162> {
  uint32_t plus128;  // 128 + zero
  __device__ static ZeroPair of(uint32_t zero) { return {kBf16Of128 | zero | zero << 16}; }
};
template <>
struct ZeroPair<__half2> {
  uint32_t plus1024;  // 1024 + zero
  uint32_t minus64;   // -64 - zero
  __device__ static ZeroPair of(uint32_t zero) {
    return {kF16Of1024 | zero | zero << 16, 0xD400D400U | zero << 4 | zero << 20};
  }
};

template <DType kType, class Pair>
struct Decode;

template <>
struct Decode<DType::kF8E4M3, __nv_bfloat162> {
  // Decodes four codes. `low` gets the first two, the first of them in its lower half.
  __device__ __forceinline__ static void four(uint32_t& low, uint32_t& high, uint32_t codes) {
    // The sign, exponent and mantissa of E4M3 are put into bf16's places. The exponents are then 120 too
    // small, which the product with 2^120 corrects. It also corrects subnormal numbers, which have become
    // subnormal bf16 numbers.
    const uint32_t scale = 0x7B807B80;  // 2^120, twice
    const auto decode = [scale](uint32_t v) {
      const uint32_t bits = (v & 0x80008000U) | (v >> 4 & 0x07F007F0U);
      return bits_of(__hmul2(as_pair<__nv_bfloat162>(bits), as_pair<__nv_bfloat162>(scale)));
    };
    low = decode(__byte_perm(codes, 0, 0x1404));
    high = decode(__byte_perm(codes, 0, 0x3424));
  }
};

template <>
struct Decode<DType::kF8E4M3, __half2> {
  __device__ __forceinline__ static void four(uint32_t& low, uint32_t& high, uint32_t codes) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890
    asm("{\n.reg .b16 a, b;\nmov.b32 {a, b}, %2;\ncvt.rn.f16x2.e4m3x2 %0, a;\ncvt.rn.f16x2.e4m3x2 %1, b;\n}\n"
        : "=r"(low), "=r"(high)
        : "r"(codes));
#else
    // The same as for bf16, with exponents that are 8 too small.
    const uint32_t scale = 0x5C005C00;  // 2^8, twice
    const auto decode = [scale](uint32_t v) {
      const uint32_t bits = (v & 0x80008000U) | (v >> 1 & 0x3F803F80U);
      return bits_of(__hmul2(as_pair<__half2>(bits), as_pair<__half2>(scale)));
    };
    low = decode(__byte_perm(codes, 0, 0x1404));
    high = decode(__byte_perm(codes, 0, 0x3424));
#endif
  }
};

template <>
struct Decode<DType::kI8, __nv_bfloat162> {
  __device__ __forceinline__ static void four(uint32_t& low, uint32_t& high, uint32_t codes) {
    // The low seven bits are added to 128. If the sign is set, 256 is subtracted instead of 128.
    const auto decode = [](uint32_t v) {
      return bits_of(__hsub2(as_pair<__nv_bfloat162>((v & 0x007F007FU) | kBf16Of128),
                             as_pair<__nv_bfloat162>((v & 0x00800080U) | kBf16Of128)));
    };
    low = decode(__byte_perm(codes, 0, 0x4140));
    high = decode(__byte_perm(codes, 0, 0x4342));
  }
};

template <>
struct Decode<DType::kI8, __half2> {
  __device__ __forceinline__ static void four(uint32_t& low, uint32_t& high, uint32_t codes) {
    const uint32_t plus128 = codes ^ 0x80808080U, of1152 = 0x64806480U;
    low = bits_of(
        __hsub2(as_pair<__half2>(__byte_perm(plus128, kF16Of1024, 0x5150)), as_pair<__half2>(of1152)));
    high = bits_of(
        __hsub2(as_pair<__half2>(__byte_perm(plus128, kF16Of1024, 0x5352)), as_pair<__half2>(of1152)));
  }
};

// Decodes eight codes of 4 bits, which are in the order of pack.cu.
__device__ __forceinline__ void decode_u4(uint32_t (&pairs)[4], uint32_t codes,
                                          const ZeroPair<__nv_bfloat162>& zero) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
    pairs[i] = bits_of(__hsub2(as_pair<__nv_bfloat162>((codes >> 4 * i & 0x000F000FU) | kBf16Of128),
                               as_pair<__nv_bfloat162>(zero.plus128)));
}

// Returns (x & mask) | bits in one instruction. If mask and bits are constants, the compiler would make two
// instructions of the expression.
__device__ __forceinline__ uint32_t and_or(uint32_t x, uint32_t mask, uint32_t bits) {
  uint32_t y;
  asm("lop3.b32 %0, %1, %2, %3, 0xEA;\n" : "=r"(y) : "r"(x), "r"(mask), "r"(bits));
  return y;
}

__device__ __forceinline__ void decode_u4(uint32_t (&pairs)[4], uint32_t codes,
                                          const ZeroPair<__half2>& zero) {
  const uint32_t sixteenth = 0x2C002C00U;
#pragma unroll
  for (int i = 0; i < 4; i += 2, codes >>= 8) {
    pairs[i] = bits_of(
        __hsub2(as_pair<__half2>(and_or(codes, 0x000F000FU, kF16Of1024)), as_pair<__half2>(zero.plus1024)));
    // This is 1024 + 16 code, a sixteenth of which is 64 + code.
    pairs[i + 1] = bits_of(__hfma2(as_pair<__half2>(and_or(codes, 0x00F000F0U, kF16Of1024)),
                                   as_pair<__half2>(sixteenth), as_pair<__half2>(zero.minus64)));
  }
}

}  // namespace seer::cuda
