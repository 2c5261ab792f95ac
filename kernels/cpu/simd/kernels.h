// The inner loops, written once. baseline.cc, avx2.cc and avx512.cc compile them, each for its instruction
// set and into a namespace of its own.
#pragma once

#include <cstdint>

#include "kernels/cpu/simd/codes.h"
#include "kernels/cpu/simd/simd.h"
#include "kernels/cpu/simd/vec.h"

namespace seer::simd::SEER_SIMD_NAMESPACE {
namespace {

constexpr int64_t kQ = kTileQueries;

// ---- attention over a tile of 64 queries ----

// c[m][0..kTileVecs) (+)= sum over k of a[m * a_row + k * a_step] * b[k * kQ ..]: M rows of one register
// tile. Starts from c * init where `init` is given (the online softmax's correction of each query lane), else
// from zero.
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
    Vec new_max = old_max;
    for (int64_t j = 0; j < n_keys; ++j) new_max = max(new_max, load(s + j * kQ + lane));
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

void decode_block(float* out, float* row_max, float* row_sum, float* scores, const float* q, const float* k,
                  const float* v, int64_t group, int64_t d_head, int64_t n_keys) {
  for (int64_t g = 0; g < group; ++g) {
    float* s = scores + g * n_keys;
    const float* qg = q + g * d_head;
    float new_max = row_max[g];
    for (int64_t j = 0; j < n_keys; ++j) {
      s[j] = dot(qg, k + j * d_head, d_head);
      new_max = s[j] > new_max ? s[j] : new_max;
    }
    const float scale = exp(broadcast(row_max[g] - new_max))[0];
    row_sum[g] = row_sum[g] * scale + exp_sum(s, n_keys, new_max);
    row_max[g] = new_max;
    float* og = out + g * d_head;
    int64_t d = 0;
    for (; d + kLanes <= d_head; d += kLanes) {
      Vec acc0 = load(og + d) * scale, acc1{};
      int64_t j = 0;
      for (; j + 2 <= n_keys; j += 2) {
        acc0 += load(v + j * d_head + d) * s[j];
        acc1 += load(v + (j + 1) * d_head + d) * s[j + 1];
      }
      if (j < n_keys) acc0 += load(v + j * d_head + d) * s[j];
      store(og + d, acc0 + acc1);
    }
    for (; d < d_head; ++d) {
      float acc = og[d] * scale;
      for (int64_t j = 0; j < n_keys; ++j) acc += v[j * d_head + d] * s[j];
      og[d] = acc;
    }
  }
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

// Where exp would overflow, x / e^88 is as good as the zero it stands for.
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

}  // namespace

const Functions kFunctions = {
    SEER_SIMD_LABEL, attention_begin, attention_block, attention_end, transpose_queries,
    decode_block,    dot_rows,        dot_code_rows,   to_float,      codes_to_float,
    silu_mul,        rms_norm,        exp_sum,
};

}  // namespace seer::simd::SEER_SIMD_NAMESPACE
