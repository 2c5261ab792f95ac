// Products of many bfloat16 inputs with bfloat16 weights and with codes, for processors with AVX512-BF16.
// Only kernels.h may include it. kernels/cpu/DESIGN.md, chapter 3, has the reasons.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/cpu/simd/codes.h"
#include "kernels/cpu/simd/digits.h"
#include "kernels/cpu/simd/fp8.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vec.h"

namespace seer::simd::SEER_SIMD_NAMESPACE {
namespace {

// A strip holds the packed weights of kStrip outputs for kDepth pairs of inputs: pair after pair, and for
// each pair the outputs side by side. It takes 32 KB.
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

// Packs `depth` inputs, at most 2 * kDepth, of n_rows weights, at most kStrip, that are `stride` apart. Pairs
// are filled up to a multiple of 16 by zeros.
inline void pack_strip(uint32_t* to, const uint16_t* w, int64_t stride, int64_t depth, int64_t n_rows) {
  for (int64_t k = 0; k < depth; k += 32) {
    const auto mask = static_cast<__mmask32>(first_bytes(depth - k < 32 ? depth - k : 32));
    for (int64_t r = 0; r < kStrip; r += 16)
      transpose_words(to + k / 2 * kStrip + r, kStrip, w + r * stride + k, stride, n_rows - r, mask);
  }
}

struct Strip {
  const uint32_t* words;  // packed
  int64_t n_pairs, n_outputs;
  const float* scales;  // [kStrip]: a factor for each output's sum; null: none
};

// out[m][0..n_outputs) (+)= the products of M inputs with a strip.
template <int M, bool kScaled>
inline void strip_rows(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride,
                       const Strip& strip, bool accumulate) {
  Vec acc[M][kStripVecs];
  __mmask16 mask[kStripVecs];
  for (int64_t v = 0; v < kStripVecs; ++v)
    mask[v] = static_cast<__mmask16>(first_bytes(strip.n_outputs - v * kLanes));
  const auto before = [&](int m, int v) SEER_INLINE {
    const float* o = out + m * out_stride + v * kLanes;
    return accumulate ? reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(mask[v], o)) : Vec{};
  };
  unrolled<M>([&](auto row) SEER_INLINE {
    unrolled<kStripVecs>([&](auto vec) SEER_INLINE {
      constexpr int m = decltype(row)::value, v = decltype(vec)::value;
      acc[m][v] = kScaled ? Vec{} : before(m, v);
    });
  });
  for (int64_t k = 0; k < strip.n_pairs; ++k) {
    __m512i w[kStripVecs];
    for (int v = 0; v < kStripVecs; ++v) w[v] = load_bytes(strip.words + k * kStrip + v * kLanes);
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
      if constexpr (kScaled) acc[m][v] = before(m, v) + acc[m][v] * load(strip.scales + v * kLanes);
      _mm512_mask_storeu_ps(out + m * out_stride + v * kLanes, mask[v], reinterpret_cast<__m512>(acc[m][v]));
    });
  });
}

template <bool kScaled>
inline void multiply_strip(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                           const Strip& strip, bool accumulate) {
  int64_t m = 0;
  for (; m + kStripRows <= n_x; m += kStripRows)
    strip_rows<kStripRows, kScaled>(out + m * out_stride, out_stride, x + m * x_stride, x_stride, strip,
                                    accumulate);
  out += m * out_stride;
  x += m * x_stride;
  switch (n_x - m) {
    case 1:
      return strip_rows<1, kScaled>(out, out_stride, x, x_stride, strip, accumulate);
    case 2:
      return strip_rows<2, kScaled>(out, out_stride, x, x_stride, strip, accumulate);
    case 3:
      return strip_rows<3, kScaled>(out, out_stride, x, x_stride, strip, accumulate);
    case 4:
      return strip_rows<4, kScaled>(out, out_stride, x, x_stride, strip, accumulate);
    case 5:
      return strip_rows<5, kScaled>(out, out_stride, x, x_stride, strip, accumulate);
    default:
      return;
  }
}

void product_bf16(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                  const uint16_t* w, int64_t d_in, int64_t n_rows, bool accumulate) {
  alignas(64) uint32_t words[kDepth * kStrip];
  for (int64_t r = 0; r < n_rows; r += kStrip) {
    const int64_t n_outputs = n_rows - r < kStrip ? n_rows - r : kStrip;
    for (int64_t k = 0; k < d_in; k += 2 * kDepth) {
      const int64_t depth = d_in - k < 2 * kDepth ? d_in - k : 2 * kDepth;
      pack_strip(words, w + r * d_in + k, d_in, depth, n_outputs);
      multiply_strip<false>(out + r, out_stride, x + k, x_stride, n_x,
                            {words, (depth + 1) / 2, n_outputs, nullptr}, accumulate || k > 0);
    }
  }
}

// ---- codes ----

// A code less its zero must be a bfloat16 number without rounding, as integers up to 256 and E4M3 numbers
// are. Groups must be large enough to be worth a strip.
bool takes_bf16(const CodeRows& w) {
  return (w.zeros == nullptr || w.type == CodeType::kU4) && (w.group >= w.d_in || w.group % 32 == 0);
}

// to[i] = E4M3 code i for i < n rounded up to 64, for which `to` has room.
inline void e4m3_to_bf16(uint16_t* to, const uint8_t* codes, int64_t n) {
  const E4M3Bf16 table;
  // The table separates the two halves of each 16 codes. So the halves are exchanged first, and the results
  // come out in the order of the codes.
  const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  for (int64_t i = 0; i < n; i += 64) {
    const __m512i next = _mm512_maskz_loadu_epi8(first_bytes(n - i), codes + i);
    __m512i numbers[2];
    table.convert(numbers, _mm512_permutexvar_epi64(order, next));
    _mm512_storeu_si512(to + i, numbers[0]);
    _mm512_storeu_si512(to + i + 32, numbers[1]);
  }
}

// to[i] = code begin + i of a row less its zero, for i < n; `begin` is even, and `to` has room for n rounded
// up to 64.
template <class C>
inline void codes_to_bf16(uint16_t* to, const uint8_t* codes, float zero, int64_t begin, int64_t n) {
  if constexpr (std::is_same_v<C, E4M3Codes>) return e4m3_to_bf16(to, codes + begin, n);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    store_low_halves(to + i, reinterpret_cast<UVec>(C::load_vec(codes, begin + i) - zero) >> 16);
  for (; i < n; ++i) {
    const float level = C::load_one(codes, begin + i) - zero;
    uint32_t bits;
    std::memcpy(&bits, &level, sizeof bits);
    to[i] = static_cast<uint16_t>(bits >> 16);
  }
}

template <class C>
void product_codes(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                   const CodeRows& w, int64_t n_rows, bool accumulate) {
  // Rows are an odd number of cache lines apart, so that they fall into different sets of the cache.
  constexpr int64_t kStride = 2 * kDepth + 32;
  alignas(64) uint32_t words[kDepth * kStrip];
  alignas(64) uint16_t levels[kStrip * kStride];
  alignas(64) float scales[kStrip] = {};
  const int64_t n_groups = (w.d_in + w.group - 1) / w.group;
  for (int64_t r = 0; r < n_rows; r += kStrip) {
    const int64_t n_outputs = n_rows - r < kStrip ? n_rows - r : kStrip;
    for (int64_t k = 0, depth; k < w.d_in; k += depth) {
      const int64_t g = k / w.group, end = (g + 1) * w.group < w.d_in ? (g + 1) * w.group : w.d_in;
      depth = end - k < 2 * kDepth ? end - k : 2 * kDepth;
      for (int64_t i = 0; i < n_outputs; ++i) {
        const int64_t at = (r + i) * n_groups + g;
        scales[i] = w.scales[at];
        const float zero = w.zeros != nullptr ? static_cast<float>(w.zeros[at]) : C::kZero;
        codes_to_bf16<C>(levels + i * kStride, w.codes + (r + i) * C::row_bytes(w.d_in), zero, k, depth);
      }
      pack_strip(words, levels, kStride, depth, n_outputs);
      multiply_strip<true>(out + r, out_stride, x + k, x_stride, n_x,
                           {words, (depth + 1) / 2, n_outputs, scales}, accumulate || k > 0);
    }
  }
}

void product_codes_bf16(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                        const CodeRows& w, int64_t n_rows, bool accumulate) {
  switch (w.type) {
    case CodeType::kE4M3:
      return product_codes<E4M3Codes>(out, out_stride, x, x_stride, n_x, w, n_rows, accumulate);
    case CodeType::kI8:
      return product_codes<I8Codes>(out, out_stride, x, x_stride, n_x, w, n_rows, accumulate);
    case CodeType::kU4:
      return product_codes<U4Codes>(out, out_stride, x, x_stride, n_x, w, n_rows, accumulate);
  }
}

}  // namespace
}  // namespace seer::simd::SEER_SIMD_NAMESPACE
