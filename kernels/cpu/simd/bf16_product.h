// Products of many bfloat16 inputs with bfloat16 weights. Included by kernels.h alone, for processors with
// AVX512-BF16. kernels/cpu/DESIGN.md, chapter 3, has the reasons.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/digits.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vec.h"

namespace seer::simd::SEER_SIMD_NAMESPACE {
namespace {

// A strip of kStrip outputs takes kDepth pairs of inputs at a time, packed: pair after pair, the outputs'
// weights of a pair side by side. That is 32 KB.
constexpr int64_t kStripVecs = 4, kStrip = kStripVecs * kLanes, kDepth = 128;
constexpr int kStripRows = 6;  // inputs whose sums stay in registers

// to[16 i + j] = word i of row j, for 16 rows that are `stride` words apart. Words that `mask` leaves out,
// and rows from n_rows on, are zero.
inline void transpose_words(uint32_t* to, int64_t to_stride, const uint16_t* from, int64_t stride,
                            int64_t n_rows, __mmask32 mask) {
  __m512i a[16], b[16];
  for (int64_t r = 0; r < 16; ++r)
    a[r] = r < n_rows ? _mm512_maskz_loadu_epi16(mask, from + r * stride) : _mm512_setzero_si512();
  for (int r = 0; r < 16; r += 2) {
    b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
    b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
  }
  for (int r = 0; r < 16; r += 4)
    for (int h = 0; h < 2; ++h) {
      a[r + 2 * h] = _mm512_unpacklo_epi64(b[r + h], b[r + h + 2]);
      a[r + 2 * h + 1] = _mm512_unpackhi_epi64(b[r + h], b[r + h + 2]);
    }
  // a[4 q + i] has, in quarter c, word 4 c + i of rows 4 q to 4 q + 3.
  for (int i = 0; i < 4; ++i) {
    const __m512i low = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x88),
                  high = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xDD);
    const __m512i low2 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x88),
                  high2 = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xDD);
    _mm512_storeu_si512(to + i * to_stride, _mm512_shuffle_i32x4(low, low2, 0x88));
    _mm512_storeu_si512(to + (4 + i) * to_stride, _mm512_shuffle_i32x4(high, high2, 0x88));
    _mm512_storeu_si512(to + (8 + i) * to_stride, _mm512_shuffle_i32x4(low, low2, 0xDD));
    _mm512_storeu_si512(to + (12 + i) * to_stride, _mm512_shuffle_i32x4(high, high2, 0xDD));
  }
}

// Packs `depth` inputs, at most 2 * kDepth, of n_rows weights, at most kStrip. Pairs are filled up to a
// multiple of 16 by zeros.
inline void pack_strip(uint32_t* to, const uint16_t* w, int64_t d_in, int64_t depth, int64_t n_rows) {
  for (int64_t k = 0; k < depth; k += 32) {
    const auto mask = static_cast<__mmask32>(first_bytes(depth - k < 32 ? depth - k : 32));
    for (int64_t r = 0; r < kStrip; r += 16)
      transpose_words(to + k / 2 * kStrip + r, kStrip, w + r * d_in + k, d_in, n_rows - r, mask);
  }
}

// out[m][0..n_outputs) (+)= the products of M inputs with a packed strip.
template <int M>
inline void strip_rows(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride,
                       const uint32_t* strip, int64_t n_pairs, int64_t n_outputs, bool accumulate) {
  Vec acc[M][kStripVecs];
  __mmask16 mask[kStripVecs];
  for (int64_t v = 0; v < kStripVecs; ++v)
    mask[v] = static_cast<__mmask16>(first_bytes(n_outputs - v * kLanes));
  unrolled<M>([&](auto row) SEER_INLINE {
    unrolled<kStripVecs>([&](auto vec) SEER_INLINE {
      constexpr int m = decltype(row)::value, v = decltype(vec)::value;
      const float* o = out + m * out_stride + v * kLanes;
      acc[m][v] = accumulate ? reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(mask[v], o)) : Vec{};
    });
  });
  for (int64_t k = 0; k < n_pairs; ++k) {
    __m512i w[kStripVecs];
    for (int v = 0; v < kStripVecs; ++v) w[v] = load_bytes(strip + k * kStrip + v * kLanes);
    unrolled<M>([&](auto row) SEER_INLINE {
      constexpr int m = decltype(row)::value;
      int pair;
      std::memcpy(&pair, x + m * x_stride + 2 * k, sizeof pair);
      const __m512i xm = _mm512_set1_epi32(pair);
      unrolled<kStripVecs>([&](auto vec) SEER_INLINE {
        constexpr int v = decltype(vec)::value;
        acc[m][v] = add_products(acc[m][v], w[v], xm);
      });
    });
  }
  unrolled<M>([&](auto row) SEER_INLINE {
    unrolled<kStripVecs>([&](auto vec) SEER_INLINE {
      constexpr int m = decltype(row)::value, v = decltype(vec)::value;
      _mm512_mask_storeu_ps(out + m * out_stride + v * kLanes, mask[v], reinterpret_cast<__m512>(acc[m][v]));
    });
  });
}

void strip_remainder(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride,
                     const uint32_t* strip, int64_t n_pairs, int64_t n_outputs, bool accumulate,
                     int64_t n_x) {
  switch (n_x) {
    case 1:
      return strip_rows<1>(out, out_stride, x, x_stride, strip, n_pairs, n_outputs, accumulate);
    case 2:
      return strip_rows<2>(out, out_stride, x, x_stride, strip, n_pairs, n_outputs, accumulate);
    case 3:
      return strip_rows<3>(out, out_stride, x, x_stride, strip, n_pairs, n_outputs, accumulate);
    case 4:
      return strip_rows<4>(out, out_stride, x, x_stride, strip, n_pairs, n_outputs, accumulate);
    case 5:
      return strip_rows<5>(out, out_stride, x, x_stride, strip, n_pairs, n_outputs, accumulate);
    default:
      return;
  }
}

void product_bf16(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                  const uint16_t* w, int64_t d_in, int64_t n_rows, bool accumulate) {
  alignas(64) uint32_t strip[kDepth * kStrip];
  for (int64_t r = 0; r < n_rows; r += kStrip) {
    const int64_t n_outputs = n_rows - r < kStrip ? n_rows - r : kStrip;
    for (int64_t k = 0; k < d_in; k += 2 * kDepth) {
      const int64_t depth = d_in - k < 2 * kDepth ? d_in - k : 2 * kDepth, n_pairs = (depth + 1) / 2;
      const bool add = accumulate || k > 0;
      pack_strip(strip, w + r * d_in + k, d_in, depth, n_outputs);
      int64_t m = 0;
      for (; m + kStripRows <= n_x; m += kStripRows)
        strip_rows<kStripRows>(out + m * out_stride + r, out_stride, x + m * x_stride + k, x_stride, strip,
                               n_pairs, n_outputs, add);
      strip_remainder(out + m * out_stride + r, out_stride, x + m * x_stride + k, x_stride, strip, n_pairs,
                      n_outputs, add, n_x - m);
    }
  }
}

}  // namespace
}  // namespace seer::simd::SEER_SIMD_NAMESPACE
