// The inner loops, written once. baseline.cc, avx2.cc, avx512.cc and avx512bf16.cc compile them, each for its
// instruction set and into a namespace of its own.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/codes.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vec.h"

#if defined(__AVX512BF16__) && defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#include "kernels/cpu/simd/bf16_product.h"
#include "kernels/cpu/simd/digits.h"
#include "kernels/cpu/simd/fp8.h"
#define SEER_PREPARED_INPUTS
#endif

namespace seer::simd::SEER_SIMD_NAMESPACE {
namespace {

constexpr int64_t kQ = kTileQueries;

// ---- attention over a tile of 64 queries ----

// c[m][0..kTileVecs) (+)= sum over k of a[m * a_row + k * a_step] * b[k * kQ ..], for the M rows of one
// register tile. If `init` is given, the sums start from c * init (the online softmax's correction of each
// query lane), else from zero.
template <int M>
inline void tile_product(float* c, const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t n_k,
                         const float* init) {
  Vec acc[M][kTileVecs];
  for (int m = 0; m < M; ++m)
    for (int j = 0; j < kTileVecs; ++j)
      acc[m][j] = init == nullptr ? Vec{} : load(c + m * kQ + j * kLanes) * load(init + j * kLanes);
  for (int64_t k = 0; k < n_k; ++k) {
    Vec bk[kTileVecs];
    for (int j = 0; j < kTileVecs; ++j) bk[j] = load(b + k * kQ + j * kLanes);
    for (int m = 0; m < M; ++m) {
      const Vec am = broadcast(a[m * a_row + k * a_step]);
      for (int j = 0; j < kTileVecs; ++j) acc[m][j] += am * bk[j];
    }
  }
  for (int m = 0; m < M; ++m)
    for (int j = 0; j < kTileVecs; ++j) store(c + m * kQ + j * kLanes, acc[m][j]);
}

void product(float* c, const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t n_m,
             int64_t n_k, const float* init) {
  for (int64_t col = 0; col < kQ; col += kTileVecs * kLanes) {
    const float* col_init = init == nullptr ? nullptr : init + col;
    int64_t m = 0;
    for (; m + kTileRows <= n_m; m += kTileRows)
      tile_product<kTileRows>(c + m * kQ + col, a + m * a_row, a_row, a_step, b + col, n_k, col_init);
    for (; m + 4 <= n_m; m += 4)
      tile_product<4>(c + m * kQ + col, a + m * a_row, a_row, a_step, b + col, n_k, col_init);
    for (; m < n_m; ++m)
      tile_product<1>(c + m * kQ + col, a + m * a_row, a_row, a_step, b + col, n_k, col_init);
  }
}

constexpr float kMinusInf = -__builtin_inff();

void attention_begin(const AttentionTile& tile) {
  for (int64_t i = 0; i < kQ; ++i) {
    tile.row_max[i] = kMinusInf;
    tile.row_sum[i] = 0.0F;
  }
  for (int64_t i = 0; i < tile.d_head * kQ; ++i) tile.out_t[i] = 0.0F;
}

void attention_block(const AttentionTile& tile, const float* k, const float* v, int64_t n_keys,
                     int64_t causal_shift) {
  float* s = tile.scores;
  product(s, k, tile.d_head, 1, tile.q_t, n_keys, tile.d_head, nullptr);
  // Lane i sees keys j <= i + causal_shift.
  for (int64_t j = causal_shift > 0 ? causal_shift : 0; j < n_keys; ++j)
    for (int64_t i = 0; i < kQ && i + causal_shift < j; ++i) s[j * kQ + i] = kMinusInf;

  alignas(64) float correction[kQ];
  for (int64_t lane = 0; lane < kQ; lane += kLanes) {
    const Vec old_max = load(tile.row_max + lane);
    Vec new_max = tile.block_max == nullptr ? old_max : broadcast(kMinusInf);
    for (int64_t j = 0; j < n_keys; ++j) new_max = max(new_max, load(s + j * kQ + lane));
    if (tile.block_max != nullptr) {
      store(tile.block_max + lane, new_max);
      new_max = max(old_max, new_max);
    }
    Vec total{};
    for (int64_t j = 0; j < n_keys; ++j) {
      const Vec p = exp(load(s + j * kQ + lane) - new_max);
      store(s + j * kQ + lane, p);
      total += p;
    }
    const Vec scale = exp(old_max - new_max);
    store(correction + lane, scale);
    store(tile.row_max + lane, new_max);
    store(tile.row_sum + lane, load(tile.row_sum + lane) * scale + total);
  }
  product(tile.out_t, v, 1, tile.d_head, s, tile.d_head, n_keys, correction);
}

void attention_end(const AttentionTile& tile, float* out, int64_t out_stride, int64_t n_queries) {
  for (int64_t i = 0; i < n_queries; ++i) {
    const float inverse = 1.0F / tile.row_sum[i];
    for (int64_t d = 0; d < tile.d_head; ++d) out[i * out_stride + d] = tile.out_t[d * kQ + i] * inverse;
  }
}

void transpose_queries(float* q_t, const float* q, int64_t q_stride, int64_t n_queries, int64_t d_head,
                       float scale) {
  for (int64_t d = 0; d < d_head; ++d) {
    for (int64_t i = 0; i < n_queries; ++i) q_t[d * kQ + i] = q[i * q_stride + d] * scale;
    for (int64_t i = n_queries; i < kQ; ++i) q_t[d * kQ + i] = 0.0F;
  }
}

// ---- decode ----

inline float dot(const float* a, const float* b, int64_t n) {
  Vec acc0{}, acc1{};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    acc0 += load(a + i) * load(b + i);
    acc1 += load(a + i + kLanes) * load(b + i + kLanes);
  }
  for (; i + kLanes <= n; i += kLanes) acc0 += load(a + i) * load(b + i);
  float total = sum(acc0 + acc1);
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

float exp_sum(float* x, int64_t n, float row_max) {
  const Vec m = broadcast(row_max);
  Vec total{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec p = exp(load(x + i) - m);
    store(x + i, p);
    total += p;
  }
  float rest = 0.0F;
  for (; i < n; ++i) {
    const Vec p = exp(broadcast(x[i]) - m);
    x[i] = p[0];
    rest += p[0];
  }
  return sum(total) + rest;
}

// Returns the largest of x[0..n) and `least`; NaN is ignored.
inline float largest(const float* x, int64_t n, float least) {
  Vec top = broadcast(least);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) top = max(load(x + i), top);
  for (; i < n; ++i) top = max(broadcast(x[i]), top);
  float lanes[kLanes];
  store(lanes, top);
  float result = lanes[0];
  for (int64_t l = 1; l < kLanes; ++l) result = lanes[l] > result ? lanes[l] : result;
  return result;
}

// Prefetches memory that is read soon. Rows of keys lie one after the other, but the processor's own
// prefetcher stops at every 4 KB and does not know the next page of a sequence.
inline void prefetch(const char* p, int64_t n_bytes) {
  for (int64_t i = 0; i < n_bytes; i += 64) __builtin_prefetch(p + i);
}

// out[g * n_keys + m] = the product of query g and key m, for G queries and M keys: each key is loaded and
// widened once for all queries. A product's bits depend on neither G nor M nor the type of the keys.
template <class K, int G, int M>
inline void key_tile(float* out, const float* q, const typename K::Element* k, int64_t d_head,
                     int64_t n_keys) {
  Vec acc[G][M] = {};
  int64_t i = 0;
  for (; i + kLanes <= d_head; i += kLanes) {
    Vec qi[G];
    for (int g = 0; g < G; ++g) qi[g] = load(q + g * d_head + i);
    for (int m = 0; m < M; ++m) {
      const Vec km = K::load_vec(k + m * d_head + i);
      for (int g = 0; g < G; ++g) acc[g][m] += qi[g] * km;
    }
  }
  for (int g = 0; g < G; ++g) {
    float totals[M];
    sums<M>(totals, acc[g]);
    for (int m = 0; m < M; ++m) {
      // The rest is summed in vectors that hold one number, because compilers would fuse the multiplications
      // and additions of scalars for some types and not for others.
      Vec total = broadcast(totals[m]);
      for (int64_t t = i; t < d_head; ++t)
        total += broadcast(q[g * d_head + t]) * broadcast(K::load_one(k + m * d_head + t));
      out[g * n_keys + m] = total[0];
    }
  }
}

// C vectors of G queries' outputs, out[g * d_head + ..] = out * scale[g] + sum over keys of p[g][j] * v[j].
// `next`, if given, points to n_keys rows of keys that are prefetched.
template <class K, int G, int C>
inline void value_tile(float* out, const float* p, const float* scale, const typename K::Element* v,
                       int64_t d_head, int64_t n_keys, const char* next) {
  const int64_t row_bytes = d_head * int64_t{sizeof(typename K::Element)};
  Vec acc[G][C];
  for (int g = 0; g < G; ++g)
    for (int c = 0; c < C; ++c) acc[g][c] = load(out + g * d_head + c * kLanes) * scale[g];
  for (int64_t j = 0; j < n_keys; ++j) {
    if (next != nullptr) prefetch(next + j * row_bytes, row_bytes);
    Vec vj[C];
    for (int c = 0; c < C; ++c) vj[c] = K::load_vec(v + j * d_head + c * kLanes);
    for (int g = 0; g < G; ++g) {
      const Vec pj = broadcast(p[g * n_keys + j]);
      for (int c = 0; c < C; ++c) acc[g][c] += vj[c] * pj;
    }
  }
  for (int g = 0; g < G; ++g)
    for (int c = 0; c < C; ++c) store(out + g * d_head + c * kLanes, acc[g][c]);
}

// decode_block for G queries. Prefetches if they are the first of the group.
template <class K, int G>
inline void decode_queries(float* out, float* row_max, float* row_sum, float* scores, const float* q,
                           const typename K::Element* k, const typename K::Element* v, int64_t d_head,
                           int64_t n_keys, bool first, const char* next_k) {
  const int64_t row_bytes = d_head * int64_t{sizeof(typename K::Element)};
  int64_t key = 0;
  for (; key + 4 <= n_keys; key += 4) {
    if (first) prefetch(reinterpret_cast<const char*>(v + key * d_head), 4 * row_bytes);
    key_tile<K, G, 4>(scores + key, q, k + key * d_head, d_head, n_keys);
  }
  for (; key < n_keys; ++key) key_tile<K, G, 1>(scores + key, q, k + key * d_head, d_head, n_keys);
  float scale[G];
  for (int g = 0; g < G; ++g) {
    float* s = scores + g * n_keys;
    const float new_max = largest(s, n_keys, row_max[g]);
    scale[g] = exp(broadcast(row_max[g] - new_max))[0];
    row_sum[g] = row_sum[g] * scale[g] + exp_sum(s, n_keys, new_max);
    row_max[g] = new_max;
  }
  int64_t d = 0;
  for (; d + 4 * kLanes <= d_head; d += 4 * kLanes)
    value_tile<K, G, 4>(out + d, scores, scale, v + d, d_head, n_keys, first && d == 0 ? next_k : nullptr);
  for (; d + kLanes <= d_head; d += kLanes)
    value_tile<K, G, 1>(out + d, scores, scale, v + d, d_head, n_keys, first && d == 0 ? next_k : nullptr);
  for (; d < d_head; ++d)
    for (int g = 0; g < G; ++g) {
      Vec acc = broadcast(out[g * d_head + d]) * scale[g];
      for (int64_t j = 0; j < n_keys; ++j)
        acc += broadcast(K::load_one(v + j * d_head + d)) * broadcast(scores[g * n_keys + j]);
      out[g * d_head + d] = acc[0];
    }
}

template <class K>
void decode_block_of(float* out, float* row_max, float* row_sum, float* scores, const float* q,
                     const typename K::Element* k, const typename K::Element* v, const void* next_k,
                     int64_t group, int64_t d_head, int64_t n_keys) {
  int64_t g = 0;
  const auto run = [&]<int G>() {
    for (; g + G <= group; g += G)
      decode_queries<K, G>(out + g * d_head, row_max + g, row_sum + g, scores + g * n_keys, q + g * d_head, k,
                           v, d_head, n_keys, g == 0, static_cast<const char*>(next_k));
  };
  if constexpr (kDecodeQueries > 2) run.template operator()<kDecodeQueries>();
  run.template operator()<2>();
  run.template operator()<1>();
}

void decode_block(float* out, float* row_max, float* row_sum, float* scores, const float* q, const void* k,
                  const void* v, const void* next_k, WeightType type, int64_t group, int64_t d_head,
                  int64_t n_keys) {
  if (type == WeightType::kBF16)
    return decode_block_of<BF16Weights>(out, row_max, row_sum, scores, q, static_cast<const uint16_t*>(k),
                                        static_cast<const uint16_t*>(v), next_k, group, d_head, n_keys);
  decode_block_of<F32Weights>(out, row_max, row_sum, scores, q, static_cast<const float*>(k),
                              static_cast<const float*>(v), next_k, group, d_head, n_keys);
}

// R rows of W against X vectors: each weight is loaded and widened once.
template <class W, int R, int X>
inline void dot_tile(float* out, int64_t out_stride, const float* x, int64_t x_stride,
                     const typename W::Element* w, int64_t d_in, bool accumulate) {
  Vec acc[R][X] = {};
  int64_t i = 0;
  for (; i + kLanes <= d_in; i += kLanes) {
    Vec xi[X];
    for (int m = 0; m < X; ++m) xi[m] = load(x + m * x_stride + i);
    for (int r = 0; r < R; ++r) {
      const Vec wr = W::load_vec(w + r * d_in + i);
      for (int m = 0; m < X; ++m) acc[r][m] += wr * xi[m];
    }
  }
  for (int r = 0; r < R; ++r)
    for (int m = 0; m < X; ++m) {
      float total = sum(acc[r][m]);
      for (int64_t t = i; t < d_in; ++t) total += W::load_one(w + r * d_in + t) * x[m * x_stride + t];
      float* o = out + m * out_stride + r;
      *o = accumulate ? *o + total : total;
    }
}

template <class W, int X>
inline void dot_all_rows(float* out, int64_t out_stride, const float* x, int64_t x_stride, const void* w,
                         int64_t d_in, int64_t n_rows, bool accumulate) {
  constexpr int kRows = X == 1 ? 8 : 4;
  const auto* weights = static_cast<const typename W::Element*>(w);
  int64_t r = 0;
  for (; r + kRows <= n_rows; r += kRows)
    dot_tile<W, kRows, X>(out + r, out_stride, x, x_stride, weights + r * d_in, d_in, accumulate);
  for (; r < n_rows; ++r)
    dot_tile<W, 1, X>(out + r, out_stride, x, x_stride, weights + r * d_in, d_in, accumulate);
}

template <class W>
void dot_rows_of(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x, const void* w,
                 int64_t d_in, int64_t n_rows, bool accumulate) {
  switch (n_x) {
    case 1:
      return dot_all_rows<W, 1>(out, out_stride, x, x_stride, w, d_in, n_rows, accumulate);
    case 2:
      return dot_all_rows<W, 2>(out, out_stride, x, x_stride, w, d_in, n_rows, accumulate);
    case 3:
      return dot_all_rows<W, 3>(out, out_stride, x, x_stride, w, d_in, n_rows, accumulate);
    default:
      return dot_all_rows<W, 4>(out, out_stride, x, x_stride, w, d_in, n_rows, accumulate);
  }
}

void dot_rows(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x, const void* w,
              WeightType type, int64_t d_in, int64_t n_rows, bool accumulate) {
  switch (type) {
    case WeightType::kF32:
      return dot_rows_of<F32Weights>(out, out_stride, x, x_stride, n_x, w, d_in, n_rows, accumulate);
    case WeightType::kF16:
      return dot_rows_of<F16Weights>(out, out_stride, x, x_stride, n_x, w, d_in, n_rows, accumulate);
    case WeightType::kBF16:
      return dot_rows_of<BF16Weights>(out, out_stride, x, x_stride, n_x, w, d_in, n_rows, accumulate);
  }
}

// ---- rows ----

template <class W>
void to_float_of(float* out, const void* in, int64_t n) {
  const auto* w = static_cast<const typename W::Element*>(in);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, W::load_vec(w + i));
  for (; i < n; ++i) out[i] = W::load_one(w + i);
}

void to_float(float* out, const void* in, WeightType type, int64_t n) {
  switch (type) {
    case WeightType::kF32:
      return to_float_of<F32Weights>(out, in, n);
    case WeightType::kF16:
      return to_float_of<F16Weights>(out, in, n);
    case WeightType::kBF16:
      return to_float_of<BF16Weights>(out, in, n);
  }
}

void to_bf16(uint16_t* out, const float* in, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) BF16Weights::store_vec(out + i, load(in + i));
  for (; i < n; ++i) {
    uint16_t lanes[kLanes];
    BF16Weights::store_vec(lanes, broadcast(in[i]));
    out[i] = lanes[0];
  }
}

// If -x is beyond 88, exp would overflow. x / e^88 is used then, which is as good as the exact result,
// because both are all but 0.
inline Vec silu(Vec x) { return x / (1.0F + exp(min(-x, broadcast(88.0F)))); }

void silu_mul(float* out, const float* gate, const float* up, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, silu(load(gate + i)) * load(up + i));
  for (; i < n; ++i) out[i] = silu(broadcast(gate[i]))[0] * up[i];
}

void rms_norm(float* out, const float* x, const float* weight, int64_t n, float eps) {
  const float mean = dot(x, x, n) / static_cast<float>(n);
  const float scale = 1.0F / __builtin_sqrtf(mean + eps);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(out + i, load(x + i) * scale * load(weight + i));
  for (; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

#if !defined(SEER_PREPARED_INPUTS)
int64_t code_input_floats(const CodeRows&) { return 0; }
void prepare_code_input(float*, const float*, const CodeRows&) {}
constexpr auto dot_prepared_rows = dot_code_rows;
constexpr decltype(Functions::product_bf16) product_bf16 = nullptr;
constexpr decltype(Functions::takes_bf16) takes_bf16 = nullptr;
constexpr decltype(Functions::product_codes_bf16) product_codes_bf16 = nullptr;
#endif

}  // namespace

const Functions kFunctions = {
    SEER_SIMD_LABEL,    attention_begin,   attention_block, attention_end,
    transpose_queries,  decode_block,      dot_rows,        code_input_floats,
    prepare_code_input, dot_prepared_rows, product_bf16,    takes_bf16,
    product_codes_bf16, to_float,          to_bf16,         codes_to_float,
    silu_mul,           rms_norm,          exp_sum,
};

}  // namespace seer::simd::SEER_SIMD_NAMESPACE
