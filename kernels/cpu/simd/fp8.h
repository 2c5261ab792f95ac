// Products of E4M3 codes as bfloat16 numbers, for processors with AVX512-BF16 and AVX512-VBMI. Only kernels.h
// may include it. kernels/cpu/DESIGN.md, chapter 2, has the reasons and the error bound.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/digits.h"

namespace seer::simd::SEER_SIMD_NAMESPACE {
namespace {

// 128 inputs, each the exact sum of three bfloat16 numbers; part[p][v] are multiplied with the block's codes
// as E4M3Bf16 orders them.
struct alignas(64) PartsBlock {
  uint16_t part[3][4][32];
};

// The bfloat16 number of every E4M3 magnitude, as tables of its two bytes.
struct E4M3Table {
  alignas(64) uint8_t low[128] = {}, high[128] = {};
  constexpr E4M3Table() {
    for (unsigned code = 0; code < 128; ++code) {
      unsigned exponent = code >> 3, mantissa = code & 7;
      unsigned bits = (exponent + 120) << 7 | mantissa << 4;
      if (code == 127) bits = 0x7FC0;  // NaN
      if (exponent == 0) {
        for (exponent = 121; mantissa != 0 && mantissa < 8; --exponent) mantissa *= 2;
        bits = mantissa == 0 ? 0 : exponent << 7 | (mantissa & 7) << 4;
      }
      low[code] = static_cast<uint8_t>(bits);
      high[code] = static_cast<uint8_t>(bits >> 8);
    }
  }
};
constexpr E4M3Table kE4M3Table;

// Converts 64 codes to bfloat16, as two vectors: the first has the first 8 of each 16 consecutive codes, and
// the second the last 8.
class E4M3Bf16 {
 public:
  void load(__m512i* out, const uint8_t* p) const { convert(out, load_bytes(p)); }
  void convert(__m512i* out, __m512i codes) const {
    const __m512i low = _mm512_permutex2var_epi8(low_[0], codes, low_[1]);
    const __m512i magnitude = _mm512_permutex2var_epi8(high_[0], codes, high_[1]);
    // The bits of `magnitude`, or those of `codes` in the mask, which are the signs.
    const __m512i high = _mm512_ternarylogic_epi32(magnitude, codes, _mm512_set1_epi8(-128), 0xF8);
    out[0] = _mm512_unpacklo_epi8(low, high);
    out[1] = _mm512_unpackhi_epi8(low, high);
  }

 private:
  __m512i low_[2] = {load_bytes(kE4M3Table.low), load_bytes(kE4M3Table.low + 64)};
  __m512i high_[2] = {load_bytes(kE4M3Table.high), load_bytes(kE4M3Table.high + 64)};
};

// Splits inputs into three bfloat16 parts by truncation, so that no part overflows: each takes the next 8
// bits of the mantissa. An infinity leaves NaN as its second part.
void prepare_parts(PartsBlock* out, const float* x, int64_t n) {
  for (int64_t v = 0; v < 8; ++v) {
    const auto mask = static_cast<__mmask16>(first_bytes(n - v * kLanes));
    Vec rest = reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(mask, x + v * kLanes));
    for (auto& part : out->part) {
      const UVec high = reinterpret_cast<UVec>(rest) & 0xFFFF0000U;
      uint16_t halves[kLanes];
      store_low_halves(halves, high >> 16);
      std::memcpy(&part[v / 4 * 2][v % 4 * 8], halves, sizeof halves / 2);
      std::memcpy(&part[v / 4 * 2 + 1][v % 4 * 8], halves + kLanes / 2, sizeof halves / 2);
      rest -= reinterpret_cast<Vec>(high);
    }
  }
}

template <int R, int X>
SEER_INLINE inline void add_parts_block(Vec (*acc)[X][2], const E4M3Bf16& table, const uint8_t* codes,
                                        int64_t stride, const PartsBlock* x, int64_t x_blocks) {
  for (int half = 0; half < 2; ++half)
    unrolled<R>([&](auto row) SEER_INLINE {
      constexpr int r = decltype(row)::value;
      __m512i c[2];
      table.load(c, codes + r * stride + 64 * half);
      unrolled<X>([&](auto input) SEER_INLINE {
        constexpr int m = decltype(input)::value;
        for (int p = 2; p >= 0; --p)
          for (int v = 0; v < 2; ++v)
            acc[r][m][v] =
                add_products(acc[r][m][v], c[v], load_bytes(x[m * x_blocks].part[p][2 * half + v]));
      });
    });
}

template <int R, int X>
inline void fp8_tile(float* out, int64_t out_stride, const PartsBlock* x, int64_t x_blocks, const CodeRows& w,
                     int64_t row, bool accumulate) {
  const GroupLayout layout(w);
  const uint8_t* rows = w.codes + row * w.d_in;
  const E4M3Bf16 table;
  TileCodes<R, kBlock> codes;
  Vec acc[R][X] = {};
  int64_t b = 0;
  for (int64_t g = 0; b < x_blocks; ++g) {
    Vec group[R][X][2] = {};
    for (const int64_t end = b + layout.blocks < x_blocks ? b + layout.blocks : x_blocks; b < end; ++b) {
      prefetch_codes<R, kBlock>(rows, w.d_in, b * kBlock);
      codes.take(rows, w.d_in, b * kBlock);
      add_parts_block<R, X>(group, table, codes.first, codes.stride, x + b, x_blocks);
    }
    unrolled<R>([&](auto i) SEER_INLINE {
      unrolled<X>([&](auto j) SEER_INLINE {
        constexpr int r = decltype(i)::value, m = decltype(j)::value;
        acc[r][m] += (group[r][m][0] + group[r][m][1]) * w.scales[(row + r) * layout.n_groups + g];
      });
    });
  }
  write_tile<R, X>(out + row, out_stride, acc, accumulate);
}

// ---- any codes ----

// Returns whether each group of a row consists of whole blocks of 128 inputs, or each block of whole groups
// that have whole lanes.
inline bool suits_blocks(const CodeRows& w) {
  if (w.type == CodeType::kE4M3 && w.zeros != nullptr) return false;
  if (w.group >= w.d_in || w.group % kBlock == 0) return true;
  return w.type == CodeType::kU4 && w.group % 8 == 0 && kBlock % w.group == 0;
}

int64_t code_input_floats(const CodeRows& w) {
  if (!suits_blocks(w)) return 0;
  const int64_t bytes = w.type == CodeType::kE4M3 ? sizeof(PartsBlock) : sizeof(DigitBlock);
  return (w.d_in + kBlock - 1) / kBlock * (bytes / int64_t{sizeof(float)});
}

void prepare_code_input(float* out, const float* x, const CodeRows& w) {
  for (int64_t i = 0; i < w.d_in; i += kBlock) {
    const int64_t b = i / kBlock, n = w.d_in - i;
    switch (w.type) {
      case CodeType::kE4M3:
        prepare_parts(reinterpret_cast<PartsBlock*>(out) + b, x + i, n);
        break;
      case CodeType::kI8:
        prepare_block<I8Bytes>(reinterpret_cast<DigitBlock*>(out) + b, x + i, n);
        break;
      case CodeType::kU4:
        prepare_block<U4Bytes>(reinterpret_cast<DigitBlock*>(out) + b, x + i, n);
        break;
    }
  }
}

template <int R, int X>
inline void prepared_tile(float* out, int64_t out_stride, const float* x, const CodeRows& w, int64_t row,
                          bool accumulate) {
  const int64_t blocks = (w.d_in + kBlock - 1) / kBlock;
  const auto* digits = reinterpret_cast<const DigitBlock*>(x);
  switch (w.type) {
    case CodeType::kE4M3:
      return fp8_tile<R, X>(out, out_stride, reinterpret_cast<const PartsBlock*>(x), blocks, w, row,
                            accumulate);
    case CodeType::kI8:
      if (w.zeros != nullptr)
        return digit_tile<I8Bytes, R, X, true>(out, out_stride, digits, blocks, w, row, accumulate);
      return digit_tile<I8Bytes, R, X, false>(out, out_stride, digits, blocks, w, row, accumulate);
    case CodeType::kU4:
      if (w.zeros != nullptr)
        return digit_tile<U4Bytes, R, X, true>(out, out_stride, digits, blocks, w, row, accumulate);
      return digit_tile<U4Bytes, R, X, false>(out, out_stride, digits, blocks, w, row, accumulate);
  }
}

// Takes the inputs in pairs: the codes that one pair has read are in the cache for the next.
template <int R>
inline void prepared_rows(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x,
                          const CodeRows& w, int64_t row, bool accumulate) {
  int64_t m = 0;
  for (; m + 2 <= n_x; m += 2)
    prepared_tile<R, 2>(out + m * out_stride, out_stride, x + m * x_stride, w, row, accumulate);
  if (m < n_x) prepared_tile<R, 1>(out + m * out_stride, out_stride, x + m * x_stride, w, row, accumulate);
}

void dot_prepared_rows(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x,
                       const CodeRows& w, int64_t n_rows, bool accumulate) {
  if (!suits_blocks(w)) return dot_code_rows(out, out_stride, x, x_stride, n_x, w, n_rows, accumulate);
  int64_t r = 0;
  for (; r + 4 <= n_rows; r += 4) prepared_rows<4>(out, out_stride, x, x_stride, n_x, w, r, accumulate);
  for (; r < n_rows; ++r) prepared_rows<1>(out, out_stride, x, x_stride, n_x, w, r, accumulate);
}

}  // namespace
}  // namespace seer::simd::SEER_SIMD_NAMESPACE
