// Products with quantised weights, which are decoded in registers. Only kernels.h may include it.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vec.h"

namespace seer::simd::SEER_SIMD_NAMESPACE {
namespace {

using BVec = uint8_t __attribute__((vector_size(SEER_VEC_BYTES / 4)));

inline UVec widen_bytes(const uint8_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<UVec>(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<UVec>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  return __builtin_convertvector(reinterpret_cast<const Unaligned<BVec>*>(p)->v, UVec);
#endif
}

inline Vec to_vec(IVec x) { return __builtin_convertvector(x, Vec); }

// For each type of codes, load_vec() returns kLanes codes of a row from input i on, and load_one() returns
// code i.
struct E4M3Codes {
  static constexpr float kZero = 0.0F;
  static int64_t row_bytes(int64_t d_in) { return d_in; }
  static Vec load_vec(const uint8_t* row, int64_t i) {
    const UVec w = widen_bytes(row + i);
#if defined(__AVX512F__)
    // Codes are converted as half floats. Their exponent has a bias that is larger by 8, and their subnormals
    // cost nothing.
    const UVec half = (w & 0x7FU) << 7 | (w & 0x80U) << 8;
    const Vec x =
        reinterpret_cast<Vec>(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(reinterpret_cast<__m512i>(half))));
    return x * 0x1p8F;
#else
    // Codes are converted as floats. The multiplication corrects the exponent's bias and normalises
    // subnormals.
    const Vec magnitude = reinterpret_cast<Vec>((w & 0x7FU) << 20) * 0x1p120F;
    return reinterpret_cast<Vec>(reinterpret_cast<UVec>(magnitude) | (w & 0x80U) << 24);
#endif
  }
  static float load_one(const uint8_t* row, int64_t i) {
    const uint32_t magnitude = (row[i] & 0x7FU) << 20;
    float x;
    std::memcpy(&x, &magnitude, sizeof x);
    x *= 0x1p120F;
    return (row[i] & 0x80U) != 0 ? -x : x;
  }
};

struct I8Codes {
  static constexpr float kZero = 0.0F;
  static int64_t row_bytes(int64_t d_in) { return d_in; }
  static Vec load_vec(const uint8_t* row, int64_t i) {
    return to_vec(reinterpret_cast<IVec>(widen_bytes(row + i) << 24) >> 24);
  }
  static float load_one(const uint8_t* row, int64_t i) {
    return static_cast<float>(static_cast<int8_t>(row[i]));
  }
};

struct U4Codes {
  static constexpr float kZero = 8.0F;
  static int64_t row_bytes(int64_t d_in) { return d_in / 2; }
  static Vec load_vec(const uint8_t* row, int64_t i) {
    uint64_t nibbles = 0;
    std::memcpy(&nibbles, row + i / 2, static_cast<size_t>(kLanes) / 2);
#if defined(__AVX512F__)
    // Every lane gets the 32-bit half that its nibble is in, and shifts it right to where the nibble begins.
    const __m512i words = _mm512_mask_set1_epi32(_mm512_set1_epi32(static_cast<int>(nibbles)), 0xFF00,
                                                 static_cast<int>(nibbles >> 32));
    const __m512i shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    const auto codes = reinterpret_cast<IVec>(_mm512_srlv_epi32(words, shifts)) & 15;
    return to_vec(codes);
#else
    UVec shifts;
    for (int64_t lane = 0; lane < kLanes; ++lane) shifts[lane] = static_cast<uint32_t>(4 * lane);
    const UVec words = static_cast<uint32_t>(nibbles) - UVec{};
    return to_vec(reinterpret_cast<IVec>((words >> shifts) & 15U));
#endif
  }
  static float load_one(const uint8_t* row, int64_t i) {
    return static_cast<float>(row[i / 2] >> (i % 2 * 4) & 15);
  }
};

// R rows of codes against X vectors: each code is decoded once, and a group's sum is scaled once.
template <class C, int R, int X>
inline void dot_code_tile(float* out, int64_t out_stride, const float* x, int64_t x_stride, const CodeRows& w,
                          int64_t row, bool accumulate) {
  const int64_t n_groups = (w.d_in + w.group - 1) / w.group;
  Vec acc[R][X] = {};
  float rest[R][X] = {};
  for (int64_t g = 0; g < n_groups; ++g) {
    const int64_t begin = g * w.group, end = begin + w.group < w.d_in ? begin + w.group : w.d_in;
    const uint8_t* codes[R];
    float scale[R], zero[R];
    for (int r = 0; r < R; ++r) {
      const int64_t at = (row + r) * n_groups + g;
      codes[r] = w.codes + (row + r) * C::row_bytes(w.d_in);
      scale[r] = w.scales[at];
      zero[r] = w.zeros != nullptr ? static_cast<float>(w.zeros[at]) : C::kZero;
    }
    Vec part[R][X] = {};
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) {
      Vec xi[X];
      for (int m = 0; m < X; ++m) xi[m] = load(x + m * x_stride + i);
      for (int r = 0; r < R; ++r) {
        const Vec code = C::load_vec(codes[r], i) - zero[r];
        for (int m = 0; m < X; ++m) part[r][m] += code * xi[m];
      }
    }
    for (int r = 0; r < R; ++r)
      for (int m = 0; m < X; ++m) {
        acc[r][m] += part[r][m] * scale[r];
        for (int64_t t = i; t < end; ++t)
          rest[r][m] += (C::load_one(codes[r], t) - zero[r]) * scale[r] * x[m * x_stride + t];
      }
  }
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < X; ++m) {
      const float total = sum(acc[r][m]) + rest[r][m];
      float* o = out + m * out_stride + row + r;
      *o = accumulate ? *o + total : total;
    }
}

template <class C, int X>
inline void dot_all_code_rows(float* out, int64_t out_stride, const float* x, int64_t x_stride,
                              const CodeRows& w, int64_t n_rows, bool accumulate) {
  constexpr int kRows = X == 1 ? 4 : 2;
  int64_t r = 0;
  for (; r + kRows <= n_rows; r += kRows)
    dot_code_tile<C, kRows, X>(out, out_stride, x, x_stride, w, r, accumulate);
  for (; r < n_rows; ++r) dot_code_tile<C, 1, X>(out, out_stride, x, x_stride, w, r, accumulate);
}

template <class C>
void dot_rows_of_codes(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x,
                       const CodeRows& w, int64_t n_rows, bool accumulate) {
  switch (n_x) {
    case 1:
      return dot_all_code_rows<C, 1>(out, out_stride, x, x_stride, w, n_rows, accumulate);
    case 2:
      return dot_all_code_rows<C, 2>(out, out_stride, x, x_stride, w, n_rows, accumulate);
    case 3:
      return dot_all_code_rows<C, 3>(out, out_stride, x, x_stride, w, n_rows, accumulate);
    default:
      return dot_all_code_rows<C, 4>(out, out_stride, x, x_stride, w, n_rows, accumulate);
  }
}

void dot_code_rows(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x,
                   const CodeRows& w, int64_t n_rows, bool accumulate) {
  switch (w.type) {
    case CodeType::kE4M3:
      return dot_rows_of_codes<E4M3Codes>(out, out_stride, x, x_stride, n_x, w, n_rows, accumulate);
    case CodeType::kI8:
      return dot_rows_of_codes<I8Codes>(out, out_stride, x, x_stride, n_x, w, n_rows, accumulate);
    case CodeType::kU4:
      return dot_rows_of_codes<U4Codes>(out, out_stride, x, x_stride, n_x, w, n_rows, accumulate);
  }
}

template <class C>
void decode_rows(float* out, const CodeRows& w, int64_t n_rows) {
  const int64_t n_groups = (w.d_in + w.group - 1) / w.group;
  for (int64_t r = 0; r < n_rows; ++r) {
    const uint8_t* codes = w.codes + r * C::row_bytes(w.d_in);
    float* o = out + r * w.d_in;
    for (int64_t g = 0; g < n_groups; ++g) {
      const int64_t end = (g + 1) * w.group < w.d_in ? (g + 1) * w.group : w.d_in;
      const float scale = w.scales[r * n_groups + g];
      const float zero = w.zeros != nullptr ? static_cast<float>(w.zeros[r * n_groups + g]) : C::kZero;
      int64_t i = g * w.group;
      for (; i + kLanes <= end; i += kLanes) store(o + i, (C::load_vec(codes, i) - zero) * scale);
      for (; i < end; ++i) o[i] = (C::load_one(codes, i) - zero) * scale;
    }
  }
}

void codes_to_float(float* out, const CodeRows& w, int64_t n_rows) {
  switch (w.type) {
    case CodeType::kE4M3:
      return decode_rows<E4M3Codes>(out, w, n_rows);
    case CodeType::kI8:
      return decode_rows<I8Codes>(out, w, n_rows);
    case CodeType::kU4:
      return decode_rows<U4Codes>(out, w, n_rows);
  }
}

}  // namespace
}  // namespace seer::simd::SEER_SIMD_NAMESPACE
