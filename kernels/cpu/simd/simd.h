// The CPU backend's inner loops, compiled once per instruction set and chosen when the backend starts.
//
// kernels.h is compiled several times with different flags, so it may use no inline function that another
// translation unit could share: the linker would be free to keep the copy that needs AVX-512.
#pragma once

#include <cstdint>

namespace seer::simd {

// The number of query lanes of an attention tile: one gate block of 64, or part of one.
inline constexpr int64_t kTileQueries = 64;

enum class WeightType { kF32, kF16, kBF16 };

// Rows of a quantised weight. LinearWeights::Part explains codes, scales and zeros.
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
  // [64]: if not null, attention_block writes each lane's largest score of the block; -infinity for a lane
  // that sees none of its keys.
  float* block_max = nullptr;
};

struct Functions {
  const char* name;  // "AVX512-BF16", "AVX-512", "AVX2", "baseline"

  void (*attention_begin)(const AttentionTile& tile);
  // Adds n_keys (at most 128) keys and values, [n_keys, d_head] each. Query lane i sees key j if j <= i +
  // causal_shift; pass causal_shift >= n_keys for blocks before the diagonal.
  void (*attention_block)(const AttentionTile& tile, const float* k, const float* v, int64_t n_keys,
                          int64_t causal_shift);
  // out[i * out_stride + d] = out_t[d][i] / row_sum[i] for the first n_queries lanes.
  void (*attention_end)(const AttentionTile& tile, float* out, int64_t out_stride, int64_t n_queries);
  // q_t[d][i] = scale * q[i * q_stride + d]; lanes from n_queries on become zero.
  void (*transpose_queries)(float* q_t, const float* q, int64_t q_stride, int64_t n_queries, int64_t d_head,
                            float scale);

  // Decode attention of `group` queries that share a KV head, over n_keys keys and values. The result is
  // merged into (out, row_max, row_sum). q [group, d_head] is already scaled; k and v [n_keys, d_head] have
  // the type kF32 or kBF16; scores [group, n_keys] is scratch. next_k points to the keys that the next call
  // will read, or is null. bf16 keys and values give the same bits as float32 ones of the same numbers.
  void (*decode_block)(float* out, float* row_max, float* row_sum, float* scores, const float* q,
                       const void* k, const void* v, const void* next_k, WeightType type, int64_t group,
                       int64_t d_head, int64_t n_keys);

  // out[m * out_stride + r] (+)= dot(x[m], w[r]) + bias[r] for r < n_rows, m < n_x (at most 4).
  void (*dot_rows)(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x,
                   const void* w, WeightType type, int64_t d_in, int64_t n_rows, bool accumulate);

  // Returns how many floats one row of inputs takes in the form in which dot_code_rows reads it, or 0 if it
  // reads inputs as they are. Of `w`, only the type, the sizes and whether it has zeros matter.
  int64_t (*code_input_floats)(const CodeRows& w);
  // Writes x[0..d_in) in that form to `out`, whose address must be a multiple of 64. Do not call it if
  // code_input_floats is 0.
  void (*prepare_code_input)(float* out, const float* x, const CodeRows& w);
  // As dot_rows, for codes, and for inputs in that form that are x_stride floats apart.
  void (*dot_code_rows)(float* out, int64_t out_stride, const float* x, int64_t x_stride, int64_t n_x,
                        const CodeRows& w, int64_t n_rows, bool accumulate);

  // out[m * out_stride + r] (+)= dot(x[m], w[r]) for r < n_rows, m < n_x, any number of either, all bfloat16.
  // Rows of x are x_stride apart, an even number larger than d_in. If d_in is odd, the element after it must
  // be zero. Null if the processor has no such instruction.
  void (*product_bf16)(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                       const uint16_t* w, int64_t d_in, int64_t n_rows, bool accumulate);
  // The same for codes, which takes_bf16(w) must allow; only the inputs are rounded. Both are null if
  // product_bf16 is.
  bool (*takes_bf16)(const CodeRows& w);
  void (*product_codes_bf16)(float* out, int64_t out_stride, const uint16_t* x, int64_t x_stride, int64_t n_x,
                             const CodeRows& w, int64_t n_rows, bool accumulate);

  void (*to_float)(float* out, const void* in, WeightType type, int64_t n);
  void (*to_bf16)(uint16_t* out, const float* in, int64_t n);  // to the nearest, ties to even
  // out [n_rows, d_in] = the numbers that the codes stand for.
  void (*codes_to_float)(float* out, const CodeRows& w, int64_t n_rows);
  void (*silu_mul)(float* out, const float* gate, const float* up, int64_t n);
  void (*rms_norm)(float* out, const float* x, const float* weight, int64_t n, float eps);
  // x[i] = exp(x[i] - max) ; returns the sum.
  float (*exp_sum)(float* x, int64_t n, float max);
};

// Returns the best set that this processor can run. The environment variable
// SEER_SIMD=baseline|avx2|avx512|avx512bf16 sets the highest one that is considered.
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
