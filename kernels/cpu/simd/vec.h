// A vector of floats as wide as the registers of the instruction set for which this file is compiled. Only
// kernels.h may include it.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>  // its functions are always inlined, so translation units share none of them
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

// A vector at any address; its elements may also be read one by one. It is a struct because clang ignores
// aligned() in an alias, and because GCC 12 uses integer instructions for a vector that memcpy() fills.
template <class V>
struct __attribute__((packed, may_alias)) Unaligned {
  V v;
};

constexpr int64_t kLanes = SEER_VEC_BYTES / 4;
// The tile of kTileRows * kTileVecs accumulators that fits into the vector registers.
#if defined(__AVX512F__)
constexpr int kTileRows = 6, kTileVecs = 4;
constexpr int kDecodeQueries = 4;  // queries that share one load of a key or value, with 4 accumulators each
#else
constexpr int kTileRows = 6, kTileVecs = 2;
constexpr int kDecodeQueries = 2;
#endif

inline Vec load(const float* p) { return reinterpret_cast<const Unaligned<Vec>*>(p)->v; }
inline void store(float* p, Vec v) { reinterpret_cast<Unaligned<Vec>*>(p)->v = v; }
inline Vec broadcast(float x) { return x - Vec{}; }
inline Vec max(Vec a, Vec b) { return a > b ? a : b; }  // b if either is NaN
inline Vec min(Vec a, Vec b) { return a < b ? a : b; }

using Vec4 = float __attribute__((vector_size(16)));

// Element i of the result is the sum of lanes i, i + 4, i + 8 and so on. It is formed by adding halves of the
// register.
inline Vec4 quarter_sums(Vec v) {
#if defined(__AVX512F__)
  using Vec8 = float __attribute__((vector_size(32)));
  Vec8 half[2];
  std::memcpy(half, &v, sizeof v);
  const Vec8 w = half[0] + half[1];
#else
  const Vec w = v;
#endif
  Vec4 part[sizeof w / 16];
  std::memcpy(part, &w, sizeof w);
  if constexpr (sizeof w == 16) return part[0];
  return part[0] + part[sizeof w / 16 - 1];
}

inline float sum(Vec v) {
  const Vec4 x = quarter_sums(v);
  return (x[0] + x[2]) + (x[1] + x[3]);
}

// out[m] = sum(v[m]), with the same bits as sum() gives. Four sums share their last steps.
template <int M>
inline void sums(float* out, const Vec* v) {
  static_assert(M == 1 || M == 4);
  if constexpr (M == 1) {
    out[0] = sum(v[0]);
  } else {
    const Vec4 a = quarter_sums(v[0]), b = quarter_sums(v[1]), c = quarter_sums(v[2]), d = quarter_sums(v[3]);
    const Vec4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Vec4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    const Vec4 all =
        __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    std::memcpy(out, &all, sizeof all);
  }
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

// p[i] = the low 16 bits of element i, which fit.
inline void store_low_halves(uint16_t* p, UVec v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(v)));
#else
  reinterpret_cast<Unaligned<HVec>*>(p)->v = __builtin_convertvector(v, HVec);
#endif
}

// exp(x) for x <= 88, within 2 ulp. It is 0 below -87, so that a mask of -inf gives exactly 0, and NaN for
// NaN.
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
  // To the nearest, ties to even. Infinity stays infinity, and NaN stays NaN, made quiet.
  static void store_vec(uint16_t* p, Vec x) {
    const UVec bits = reinterpret_cast<UVec>(x);
    const UVec is_nan = reinterpret_cast<UVec>(x != x);
    const UVec rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16, quiet = (bits >> 16) | 0x40U;
    store_low_halves(p, (rounded & ~is_nan) | (quiet & is_nan));
  }
  static float load_one(const uint16_t* p) {
    const uint32_t bits = static_cast<uint32_t>(*p) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
};

struct F16Weights {
  using Element = uint16_t;
  // The portable version shifts exponent and mantissa up by 13 bits. A multiplication then corrects the
  // exponent's bias, and also turns half subnormals into normal floats. Infinities and NaNs get an exponent
  // of all ones.
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
