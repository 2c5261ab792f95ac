// Products of 4-bit and 8-bit codes by integer dot products, for processors with AVX512-VNNI and AVX512-VBMI.
// Only kernels.h may include it. kernels/cpu/DESIGN.md, chapter 2, has the reasons and the error bound.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/codes.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vec.h"

namespace seer::simd::SEER_SIMD_NAMESPACE {
namespace {

constexpr int64_t kBlock = 128;  // inputs that are prepared together
// The integer to which the largest input of a lane is scaled. It is one less than three digits hold, because
// two roundings may add one.
constexpr float kLargestInput = 127.0F * (65536.0F + 256.0F + 1.0F) - 1.0F;

// 128 inputs, as integers of three digits in base 256, each from -128 to 127, times a scale that the inputs
// of a lane share. Lane l of `digits[k][h]` has digit k of the inputs that bytes 4 l to 4 l + 3 of the codes'
// vector h are multiplied with.
struct alignas(64) DigitBlock {
  int8_t digits[3][2][64];
  int32_t start[3][16];  // initial values of the sums of code * digit, because codes are read with an offset
  float scale[16];
  float sum[16];  // of a lane's inputs
};

// f(0), f(1) .. f(N - 1), with constants: GCC 12 keeps arrays in registers if it sees their indices before it
// unrolls loops.
template <int I>
struct Index {
  static constexpr int value = I;
};
template <int N, class F>
__attribute__((always_inline)) inline void unrolled(const F& f) {
  if constexpr (N > 0) {
    unrolled<N - 1>(f);
    f(Index<N - 1>{});
  }
}
#define SEER_INLINE __attribute__((always_inline))

inline __m512i load_bytes(const void* p) { return _mm512_loadu_si512(p); }
// Each lane of `sum` plus the products of its two bfloat16 numbers in a and in b.
inline Vec add_products(Vec sum, __m512i a, __m512i b) {
  return reinterpret_cast<Vec>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a),
                                                reinterpret_cast<__m512bh>(b)));
}
inline __m512i as_ints(Vec x) { return reinterpret_cast<__m512i>(x); }
inline Vec as_vec(__m512i x) { return reinterpret_cast<Vec>(x); }
inline Vec ints_to_vec(__m512i x) { return to_vec(reinterpret_cast<IVec>(x)); }
inline __mmask64 first_bytes(int64_t n) {
  return n >= 64 ? ~uint64_t{0} : n <= 0 ? uint64_t{0} : (uint64_t{1} << n) - 1;
}

// A block's codes as two vectors of unsigned bytes. A byte less kOffset equals the code less kZero.
struct U4Bytes {
  static constexpr CodeType kType = CodeType::kU4;
  static constexpr int64_t kBlockBytes = 64;
  static constexpr int kOffset = 8;
  static constexpr float kZero = U4Codes::kZero;
  static constexpr bool kFitsTogether = true;  // a lane's products of all three digits have a sum of 31 bits
  static void load(__m512i* bytes, const uint8_t* p) {
    const __m512i both = load_bytes(p), low = _mm512_set1_epi8(15);
    bytes[0] = _mm512_and_si512(both, low);
    bytes[1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
  }
};

struct I8Bytes {
  static constexpr CodeType kType = CodeType::kI8;
  static constexpr int64_t kBlockBytes = 128;
  static constexpr int kOffset = 128;
  static constexpr float kZero = I8Codes::kZero;
  static constexpr bool kFitsTogether = false;
  static void load(__m512i* bytes, const uint8_t* p) {
    const __m512i sign = _mm512_set1_epi8(-128);
    bytes[0] = _mm512_xor_si512(load_bytes(p), sign);
    bytes[1] = _mm512_xor_si512(load_bytes(p + 64), sign);
  }
};

// ---- inputs ----

// Return, in every lane, the bits of the largest magnitude among 4 neighbours, or among 8. NaN and infinity
// are larger than any number.
inline __m512i largest_of_4(__m512i bits) {
  bits = _mm512_max_epu32(bits, _mm512_shuffle_epi32(bits, _MM_PERM_CDAB));
  return _mm512_max_epu32(bits, _mm512_shuffle_epi32(bits, _MM_PERM_BADC));
}
inline __m512i largest_of_8(__m512i bits) {
  bits = largest_of_4(bits);
  return _mm512_max_epu32(bits, _mm512_shuffle_i64x2(bits, bits, _MM_SHUFFLE(2, 3, 0, 1)));
}

// largest[v] = for each of the inputs x[16 v ..], the largest magnitude in its lane of the block's vectors.
template <class C>
inline void largest_of_lanes(Vec* largest, const Vec* x) {
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  for (int v = 0; v < 8; ++v) {
    const __m512i bits = _mm512_and_si512(as_ints(x[v]), magnitude);
    if constexpr (C::kType == CodeType::kU4) {
      largest[v] = as_vec(largest_of_8(bits));
    } else if (v < 4) {
      const __m512i other = _mm512_and_si512(as_ints(x[v + 4]), magnitude);
      largest[v] = as_vec(largest_of_4(_mm512_max_epu32(bits, other)));
    } else {
      largest[v] = largest[v - 4];
    }
  }
}

// Scales of 16 lanes from what largest_of_lanes gives. A lane with an infinity or a NaN gets NaN, and so do
// all sums that it is part of.
template <class C>
inline Vec scales_of_lanes(const Vec* largest) {
  alignas(64) float all[kBlock];
  for (int v = 0; v < 8; ++v) store(all + v * kLanes, largest[v]);
  Vec scale;
  for (int64_t lane = 0; lane < kLanes; ++lane) scale[lane] = all[lane * (C::kType == CodeType::kU4 ? 8 : 4)];
  scale = scale * (1.0F / kLargestInput);
  return scale <= broadcast(__FLT_MAX__) ? scale : broadcast(__builtin_nanf(""));
}

// Stores the digits of `v` in the order of the inputs. Adding 128 to each of an integer's three bytes gives
// its digits plus 128, and the exclusive or takes the 128 off again.
inline void store_digits(int8_t (*linear)[kBlock], int64_t at, __m512i v) {
  const __m512i middle = _mm512_set1_epi32(0x808080);
  const __m512i bytes = _mm512_xor_si512(_mm512_add_epi32(v, middle), middle);
  for (int k = 0; k < 3; ++k)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(linear[k] + at),
                     _mm512_cvtepi32_epi8(_mm512_srli_epi32(bytes, static_cast<unsigned>(8 * k))));
}

template <class C>
inline void order_digits(DigitBlock* out, const int8_t (*linear)[kBlock]) {
  alignas(64) uint8_t even[64];
  for (int i = 0; i < 64; ++i) even[i] = static_cast<uint8_t>(2 * i);
  const __m512i low_codes = load_bytes(even), high_codes = _mm512_add_epi8(low_codes, _mm512_set1_epi8(1));
  for (int k = 0; k < 3; ++k) {
    __m512i a = load_bytes(linear[k]), b = load_bytes(linear[k] + 64);
    if constexpr (C::kType == CodeType::kU4) {
      const __m512i low = _mm512_permutex2var_epi8(a, low_codes, b);
      b = _mm512_permutex2var_epi8(a, high_codes, b);
      a = low;
    }
    _mm512_store_si512(out->digits[k][0], a);
    _mm512_store_si512(out->digits[k][1], b);
  }
}

template <class C>
inline Vec lane_sum(const DigitBlock& in, int64_t k) {
  const __m512i ones = _mm512_set1_epi8(1);
  const __m512i first = _mm512_dpbusd_epi32(_mm512_setzero_si512(), ones, load_bytes(in.digits[k][0]));
  return as_vec(_mm512_dpbusd_epi32(first, ones, load_bytes(in.digits[k][1])));
}

template <class C>
void prepare_block(DigitBlock* out, const float* x, int64_t n) {
  Vec in[8], largest[8];
  alignas(64) int8_t linear[3][kBlock];
  for (int64_t v = 0; v < 8; ++v) {
    const auto mask = static_cast<__mmask16>(first_bytes(n - v * kLanes));
    in[v] = reinterpret_cast<Vec>(_mm512_maskz_loadu_ps(mask, x + v * kLanes));
  }
  largest_of_lanes<C>(largest, in);
  for (int v = 0; v < 8; ++v) {
    // If all inputs of a lane are smaller than 2^-100, they are rounded to multiples of about 2^-123.
    const Vec scaled = in[v] * (kLargestInput / max(largest[v], broadcast(0x1p-100F)));
    store_digits(linear, v * kLanes, _mm512_cvtps_epi32(reinterpret_cast<__m512>(scaled)));
    largest[v] = max(broadcast(0x1p-100F), largest[v]);
  }
  order_digits<C>(out, linear);
  const Vec scale = scales_of_lanes<C>(largest);
  store(out->scale, scale);
  Vec sum{};
  for (int64_t k = 2; k >= 0; --k) {
    const __m512i digits = as_ints(lane_sum<C>(*out, k));
    const __m512i offset = _mm512_set1_epi32(-C::kOffset);
    _mm512_store_si512(out->start[k], _mm512_mullo_epi32(digits, offset));
    sum = sum * 256.0F + ints_to_vec(digits);
  }
  store(out->sum, sum * scale);
}

// ---- products ----

// How a row's scales belong to its blocks: each block has `n_scales` of them if groups are smaller than a
// block, else `blocks` blocks share one.
struct GroupLayout {
  int64_t n_groups, n_scales, blocks;
  explicit GroupLayout(const CodeRows& w) : n_groups((w.d_in + w.group - 1) / w.group) {
    const int64_t n_blocks = (w.d_in + kBlock - 1) / kBlock;
    n_scales = n_groups > 1 && w.group < kBlock ? kBlock / w.group : 1;
    blocks = n_groups == 1 ? n_blocks : n_scales > 1 ? 1 : w.group / kBlock;
  }
};

// Gives each lane its scale, and its scale times its zero, for the groups from `first` on.
template <class C>
SEER_INLINE inline void group_lanes(Vec* scale, Vec* zero, const CodeRows& w, const GroupLayout& layout,
                                    int64_t row, int64_t first, __m512i lane_group) {
  const int64_t n = layout.n_groups - first, at = row * layout.n_groups + first;
  const auto mask = static_cast<__mmask16>(first_bytes(n < layout.n_scales ? n : layout.n_scales));
  const __m512 scales = _mm512_maskz_loadu_ps(mask, w.scales + at);
  *scale = reinterpret_cast<Vec>(_mm512_permutexvar_ps(lane_group, scales));
  if (w.zeros == nullptr) return;
  const __m512i zeros = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, w.zeros + at));
  const __m512i lanes = _mm512_permutexvar_epi32(lane_group, zeros);
  *zero = *scale * (ints_to_vec(lanes) - C::kZero);
}

// Returns each lane's sum of code * input, in units of the inputs' scale.
template <class C>
SEER_INLINE inline Vec block_product(const __m512i* codes, const DigitBlock& in) {
  __m512i sum[3];
  for (int k = 0; k < 3; ++k) {
    sum[k] = _mm512_dpbusd_epi32(load_bytes(in.start[k]), codes[0], load_bytes(in.digits[k][0]));
    sum[k] = _mm512_dpbusd_epi32(sum[k], codes[1], load_bytes(in.digits[k][1]));
  }
  const __m512i low = _mm512_add_epi32(_mm512_slli_epi32(sum[1], 8), sum[0]);
  if constexpr (C::kFitsTogether) return ints_to_vec(_mm512_add_epi32(_mm512_slli_epi32(sum[2], 16), low));
  return ints_to_vec(sum[2]) * 65536.0F + ints_to_vec(low);
}

// Prefetches the next tile's codes in the order of their addresses. If they were first read in the products'
// order, which alternates between rows, they would come from memory at a third of the speed. A small tile
// fits into the first-level cache, and any tile into the second-level one.
template <int R, int64_t kBytes>
SEER_INLINE inline void prefetch_codes(const uint8_t* rows, int64_t row_bytes, int64_t at) {
  const uint8_t* next = rows + R * (row_bytes + at);
  if (R * row_bytes <= 4096) {
    for (int64_t i = 0; i < R * kBytes; i += 64) __builtin_prefetch(next + i, 0, 3);
  } else {
    for (int64_t i = 0; i < R * kBytes; i += 64) __builtin_prefetch(next + i, 0, 2);
  }
}

template <int R, int X>
SEER_INLINE inline void write_tile(float* out, int64_t out_stride, const Vec (*acc)[X], bool accumulate) {
  unrolled<R>([&](auto row) SEER_INLINE {
    unrolled<X>([&](auto input) SEER_INLINE {
      constexpr int r = decltype(row)::value, m = decltype(input)::value;
      float* o = out + m * out_stride + r;
      const float total = sum(acc[r][m]);
      *o = accumulate ? *o + total : total;
    });
  });
}

// The place of a tile's codes of one block. That is the weight itself, unless a row's last codes are fewer
// than a block. Those are copied and filled up with zeros, which are multiplied by inputs that are zero.
template <int R, int64_t kBytes>
struct TileCodes {
  const uint8_t* first;
  int64_t stride;
  alignas(64) uint8_t copy[R][kBytes] = {};
  void take(const uint8_t* rows, int64_t row_bytes, int64_t at) {
    first = rows + at;
    stride = row_bytes;
    if (at + kBytes <= row_bytes) return;
    for (int r = 0; r < R; ++r)
      for (int64_t i = 0; i < kBytes; i += 64) {
        const __mmask64 rest = first_bytes(row_bytes - at - i);
        _mm512_store_si512(copy[r] + i, _mm512_maskz_loadu_epi8(rest, rows + r * row_bytes + at + i));
      }
    first = copy[0];
    stride = kBytes;
  }
};

template <class C, int R, int X, bool kZeros>
SEER_INLINE inline void add_digit_block(Vec (*acc)[X], const uint8_t* codes, int64_t stride,
                                        const DigitBlock* x, int64_t x_blocks, const Vec* scale,
                                        const Vec* zero) {
  unrolled<R>([&](auto row) SEER_INLINE {
    constexpr int r = decltype(row)::value;
    __m512i bytes[2];
    C::load(bytes, codes + r * stride);
    unrolled<X>([&](auto input) SEER_INLINE {
      constexpr int m = decltype(input)::value;
      const DigitBlock& in = x[m * x_blocks];
      acc[r][m] += block_product<C>(bytes, in) * (load(in.scale) * scale[r]);
      if constexpr (kZeros) acc[r][m] -= load(in.sum) * zero[r];
    });
  });
}

template <class C, int R, int X, bool kZeros>
inline void digit_tile(float* out, int64_t out_stride, const DigitBlock* x, int64_t x_blocks,
                       const CodeRows& w, int64_t row, bool accumulate) {
  const GroupLayout layout(w);
  const int64_t row_bytes = C::kType == CodeType::kU4 ? w.d_in / 2 : w.d_in;
  const uint8_t* rows = w.codes + row * row_bytes;
  IVec lane;
  for (int l = 0; l < kLanes; ++l) lane[l] = l;
  const auto lane_group = reinterpret_cast<__m512i>(lane * static_cast<int>(layout.n_scales) / 16);
  TileCodes<R, C::kBlockBytes> codes;
  Vec acc[R][X] = {};
  int64_t b = 0;
  for (int64_t g = 0; b < x_blocks; g += layout.n_scales) {
    Vec scale[R], zero[R];
    unrolled<R>([&](auto r) SEER_INLINE {
      constexpr int i = decltype(r)::value;
      group_lanes<C>(&scale[i], &zero[i], w, layout, row + i, g, lane_group);
    });
    for (const int64_t end = b + layout.blocks < x_blocks ? b + layout.blocks : x_blocks; b < end; ++b) {
      prefetch_codes<R, C::kBlockBytes>(rows, row_bytes, b * C::kBlockBytes);
      codes.take(rows, row_bytes, b * C::kBlockBytes);
      add_digit_block<C, R, X, kZeros>(acc, codes.first, codes.stride, x + b, x_blocks, scale, zero);
    }
  }
  write_tile<R, X>(out + row, out_stride, acc, accumulate);
}

}  // namespace
}  // namespace seer::simd::SEER_SIMD_NAMESPACE
