// The CPU backend's inner loops, compiled once per instruction set and chosen when the backend starts.
//
// kernels.cc is compiled several times with other flags, so it may use no inline function that another
// translation unit could share: the linker would be free to keep the copy that needs AVX-512.
#pragma once

#include <cstdint>

namespace seer::simd {

// Query lanes of an attention tile: one gate block of 64, or part of one.
inline constexpr int64_t kTileQueries = 64;

enum class WeightType { kF32, kF16, kBF16 };

// Rows of a quantised weight: LinearWeights::Part says what each is.
enum class CodeType { kE4M3, kI8, kU4 };
struct CodeRows {
  CodeType type;
  const uint8_t* codes;
  const float* scales;   // [n_rows, n_groups]
  const uint8_t* zeros;  // [n_rows, n_groups], or null
  int64_t d_in, group;   // a row of kU4 takes d_in / 2 bytes, of the others d_in
};

// Online-softmax state of up to 64 queries of one head. Everything is transposed, queries along the vector
// lanes, so that maxima and sums need no horizontal steps and K needs no transpose.
struct AttentionTile {
  int64_t d_head;
  const float* q_t;  // [d_head, 64], scaled by 1/sqrt(d_head)
  float* out_t;      // [d_head, 64]: sum of p * v, not yet divided
  float* row_max;    // [64]
  float* row_sum;    // [64]
  float* scores;     // scratch [128, 64]
};

struct Functions {
  const char* name;  // "AVX512-BF16", "AVX-512", "AVX2", "baseline"

  void (*attention_begin)(const AttentionTile& tile);
  // Adds n_keys (at most 128) keys and values, [n_keys, d_head] each. Query lane i sees key j where
  // j <= i + causal_shift; pass causal_shift >= n_keys for blocks before the diagonal.
  void (*attention_block)(const AttentionTile& tile, const float* k, const float* v, int64_t n_keys,
                          int64_t causal_shift);
  // out[i * out_stride + d] = out_t[d][i] / row_sum[i] for the first n_queries lanes.
  void (*attention_end)(const AttentionTile& tile, float* out, int64_t out_stride, int64_t n_queries);
  // q_t[d][i] = scale * q[i * q_stride + d]; lanes from n_queries on are zero.
  void (*transpose_queries)(float* q_t, const float* q, int64_t q_stride, int64_t n_queries, int64_t d_head,
                            float scale);

  // Decode attention of `group` queries that share a KV head over n_keys rows: merges into (out, max, sum).
  // q [group, d_head] scaled, k and v [n_keys, d_head] of `type`, which is kF32 or kBF16, scores scratch
  // [group, n_keys]. next_k, which may be null, are keys that the next call reads. bf16 gives the bits that
  // float32 keys and values of the same numbers give.
  void (*decode_block)(float* out, float* row_max, float* row_sum, float* scores, const float* q,
                       const void* k, const void* v, const void* next_k, WeightType type, int64_t group,
                       int64_t d_head, int64_t n_keys);

  // out[m * out_stride + r] (+)= dot(x[m], w[r]) + bias[r] for r < n_rows, m < n_x (at most 4).
  void (*dot_rows)(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x,
                   const void* w, WeightType type, int64_t d_in, int64_t n_rows, bool accumulate);

  // Inputs of products with codes may need another form: this many floats for each, or 0 if they are read as
  // they are. Of `w`, only the type, the sizes and whether it has zeros matter.
  int64_t (*code_input_floats)(const CodeRows& w);
  // Writes that form of x[0..d_in) to `out`, whose address is a multiple of 64. Not called if there is none.
  void (*prepare_code_input)(float* out, const float* x, const CodeRows& w);
  // As dot_rows, for codes and inputs in that form, x_stride floats apart.
  void (*dot_code_rows)(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x,
                        const CodeRows& w, int64_t n_rows, bool accumulate);

  // out[m * out_stride + r] (+)= dot(x[m], w[r]) for r < n_rows, m < n_x, any number of either, all bfloat16.
  // x rows are x_stride apart, an even number larger than d_in, and what lies past an odd d_in is zero. Null
  // where the processor has no such instruction.
  void (*product_bf16)(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                       const uint16_t* w, int64_t d_in, int64_t n_rows, bool accumulate);
  // The same for codes, if takes_bf16(w); nothing else is rounded. Null where product_bf16 is.
  bool (*takes_bf16)(const CodeRows& w);
  void (*product_codes_bf16)(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                             const CodeRows& w, int64_t n_rows, bool accumulate);

  void (*to_float)(float* out, const void* in, WeightType type, int64_t n);
  void (*to_bf16)(uint16_t* out, const float* in, int64_t n);  // to the nearest, ties to even
  // out [n_rows, d_in] = what the codes stand for.
  void (*codes_to_float)(float* out, const CodeRows& w, int64_t n_rows);
  void (*silu_mul)(float* out, const float* gate, const float* up, int64_t n);
  void (*rms_norm)(float* out, const float* x, const float* weight, int64_t n, float eps);
  // x[i] = exp(x[i] - max) ; returns the sum.
  float (*exp_sum)(float* x, int64_t n, float max);
};

// The best set this processor can run. SEER_SIMD=baseline|avx2|avx512|avx512bf16 sets the highest.
const Functions& functions();

namespace baseline {
extern const Functions kFunctions;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Functions kFunctions;
}
namespace avx512 {
extern const Functions kFunctions;
}
namespace avx512bf16 {
extern const Functions kFunctions;
}
#endif

}  // namespace seer::simd
