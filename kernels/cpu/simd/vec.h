// A vector of floats as wide as the instruction set this file is compiled for. Included by
// kernels.h alone.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>  // its functions are always inlined, so none of them is shared either
#endif

#if defined(__AVX512F__)
#define SEER_VEC_BYTES 64
#elif defined(__AVX2__)
#define SEER_VEC_BYTES 32
#else
#define SEER_VEC_BYTES 16
#endif

namespace seer::simd::SEER_SIMD_NAMESPACE {
namespace {

using Vec = float __attribute__((vector_size(SEER_VEC_BYTES)));
using IVec = int32_t __attribute__((vector_size(SEER_VEC_BYTES)));
using UVec = uint32_t __attribute__((vector_size(SEER_VEC_BYTES)));
using HVec = uint16_t __attribute__((vector_size(SEER_VEC_BYTES / 2)));

// A vector at any address, of which its elements may also be read one by one. It is a struct because clang
// ignores aligned() in an alias, and because GCC 12 loads a vector that memcpy() fills with instructions for
// integers.
template <class V>
struct __attribute__((packed, may_alias)) Unaligned {
  V v;
};

constexpr int64_t kLanes = SEER_VEC_BYTES / 4;
// Vector registers decide the tile that stays in them: kTileRows * kTileVecs accumulators.
#if defined(__AVX512F__)
constexpr int kTileRows = 6, kTileVecs = 4;
#else
constexpr int kTileRows = 6, kTileVecs = 2;
#endif

inline Vec load(const float* p) { return reinterpret_cast<const Unaligned<Vec>*>(p)->v; }
inline void store(float* p, Vec v) { reinterpret_cast<Unaligned<Vec>*>(p)->v = v; }
inline Vec broadcast(float x) { return x - Vec{}; }
inline Vec max(Vec a, Vec b) { return a > b ? a : b; }  // b where either is NaN
inline Vec min(Vec a, Vec b) { return a < b ? a : b; }

// By quarters of the widest register, which extracts them: no compiler's own shuffle is needed.
inline float sum(Vec v) {
  using Vec4 = float __attribute__((vector_size(16)));
  Vec4 part[kLanes / 4];
  std::memcpy(part, &v, sizeof v);
  for (int64_t n = kLanes / 8; n > 0; n /= 2)
    for (int64_t i = 0; i < n; ++i) part[i] += part[i + n];
  return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
}

// Element i of the result is p[i]. GCC 12 turns __builtin_convertvector into twice the instructions.
inline UVec widen(const uint16_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<UVec>(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<UVec>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  return __builtin_convertvector(reinterpret_cast<const Unaligned<HVec>*>(p)->v, UVec);
#endif
}

// exp(x) for x <= 88, within 2 ulp; 0 below -87 (so that a mask of -inf gives exactly nothing); NaN of NaN.
inline Vec exp(Vec x) {
  const Vec low = broadcast(-87.0F);
  const Vec clamped = max(low, x);
  const Vec t = clamped * 1.44269504F + 12582912.0F;  // 1.5 * 2^23: the integer part lands in the low bits
  const Vec n = t - 12582912.0F;
  const Vec r = (clamped - n * 0.693359375F) - n * -2.12194440e-4F;  // Cody-Waite
  Vec p = broadcast(1.9875691500e-4F);
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const IVec scale = (reinterpret_cast<IVec>(t) << 23);  // n << 23, modulo the bits of 1.5 * 2^23
  const Vec result = reinterpret_cast<Vec>(reinterpret_cast<IVec>(p) + scale);
  return x < low ? Vec{} : result;
}

struct F32Weights {
  using Element = float;
  static Vec load_vec(const float* p) { return load(p); }
  static float load_one(const float* p) { return *p; }
};

struct BF16Weights {
  using Element = uint16_t;
  static Vec load_vec(const uint16_t* p) { return reinterpret_cast<Vec>(widen(p) << 16); }
  static float load_one(const uint16_t* p) {
    const uint32_t bits = static_cast<uint32_t>(*p) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
};

struct F16Weights {
  using Element = uint16_t;
  // Exponent and mantissa move up by 13 bits and the exponent's bias by a multiplication, which also turns
  // half subnormals into normal floats; infinities and NaNs keep their all-ones exponent.
  static Vec load_vec(const uint16_t* p) {
#if defined(__AVX512F__)
    return reinterpret_cast<Vec>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__F16C__)
    return reinterpret_cast<Vec>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
    const UVec w = widen(p);
    const UVec magnitude = (w & 0x7FFFU) << 13;
    const Vec scaled = reinterpret_cast<Vec>(magnitude) * 0x1p112F;
    const UVec special = reinterpret_cast<UVec>((w & 0x7C00U) == 0x7C00U) & 0x7F800000U;
    return reinterpret_cast<Vec>(reinterpret_cast<UVec>(scaled) | special | ((w & 0x8000U) << 16));
#endif
  }
  static float load_one(const uint16_t* p) {
    const uint32_t w = *p;
    const uint32_t magnitude = (w & 0x7FFFU) << 13;
    float x;
    std::memcpy(&x, &magnitude, sizeof x);
    x *= 0x1p112F;
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof x);
    bits |= ((w & 0x7C00U) == 0x7C00U ? 0x7F800000U : 0U) | ((w & 0x8000U) << 16);
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
};

}  // namespace
}  // namespace seer::simd::SEER_SIMD_NAMESPACE
