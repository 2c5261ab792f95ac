// Reduces maxima of rows and blocks to ground truth: a thread block makes one row of it.
#include <cmath>

#include "kernels/cuda/distillation/params.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kBlocksPerSm = 6;
constexpr int kMostRows = 128;  // of a block of queries, or query heads of a KV head

// The rows of maxima that make one row of truth.
struct Sources {
  const float* maxima;
  const float* log_sums;
  int64_t maxima_stride, log_sums_stride;  // from one row to the next
  int n;
};

// Combines x of all threads of the thread block by f. Every thread gets the same bits.
template <class F>
__device__ float reduce(float x, F f) {
  __shared__ float of_warps[kThreads / 32];
  for (int step = 16; step > 0; step /= 2) x = f(x, __shfl_xor_sync(0xffffffffU, x, step));
  __syncthreads();  // everyone has read the values of an earlier call
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
  __syncthreads();
  x = of_warps[0];
  for (int i = 1; i < kThreads / 32; ++i) x = f(x, of_warps[i]);
  return x;
}

// Returns the logarithm of block j's largest probability. kAtOnce loads are under way together.
template <int kAtOnce>
__device__ float largest(const Sources& s, const float* log_sums, int64_t j) {
  const float* at = s.maxima + j;
  float top = -INFINITY;
  int i = 0;
  for (; i + kAtOnce <= s.n; i += kAtOnce) {
    float x[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k, at += s.maxima_stride) x[k] = __ldcs(at);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k) top = fmaxf(top, x[k] - log_sums[i + k]);
  }
#pragma unroll 1
  for (; i < s.n; ++i, at += s.maxima_stride) top = fmaxf(top, __ldcs(at) - log_sums[i]);
  return top;
}

// out[j] for j < n_blocks: the largest probability of block j, divided by the sum over the first n_seen
// blocks, and 0 from there on. That is a softmax of the probabilities' logarithms. So the largest logarithm
// is subtracted before exp, because all probabilities may be too small for float32 if a row's own block is
// left out. The logarithms wait in `out`: each thread reads its own again, from L1 or L2.
template <int kAtOnce>
__device__ void make_row(float* out, const Sources& s, int64_t n_seen, int64_t n_blocks) {
  __shared__ float log_sums[kMostRows];
  for (int i = static_cast<int>(threadIdx.x); i < s.n; i += kThreads)
    log_sums[i] = s.log_sums[i * s.log_sums_stride];
  __syncthreads();
  float most = -INFINITY;
  for (int64_t j = threadIdx.x; j < n_seen; j += kThreads) {
    const float top = largest<kAtOnce>(s, log_sums, j);
    out[j] = top;
    most = fmaxf(most, top);
  }
  most = reduce(most, [](float a, float b) { return fmaxf(a, b); });
  float sum = 0.0F;
  for (int64_t j = threadIdx.x; j < n_seen; j += kThreads) sum += expf(out[j] - most);
  sum = reduce(sum, [](float a, float b) { return a + b; });
  for (int64_t j = threadIdx.x; j < n_blocks; j += kThreads)
    out[j] = j < n_seen ? expf(out[j] - most) / sum : 0.0F;
}

// The scored rows whose tokens are in the segment.
struct Rows {
  int64_t begin, n;
};

// Grid: rows, heads.
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    prefill_truth_kernel(const PrefillTruthParams p, const Rows rows) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const RowMaxima& r = p.rows;
  // The longest rows come first.
  const int64_t head = blockIdx.y, row = rows.begin + rows.n - 1 - blockIdx.x,
                token = p.scored.position(row) * r.page_tokens - r.start, first = head * r.n_tokens + token;
  const int n = static_cast<int>(min(static_cast<int64_t>(r.page_tokens), r.n_tokens - token));
  make_row<8>(p.out + (head * p.scored.n + row) * p.n_blocks,
              {r.maxima + first * r.row_capacity, r.log_sums + first, r.row_capacity, 1, n},
              p.scored.visible(row), p.n_blocks);
}

// Grid: rows, KV heads.
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    decode_truth_kernel(const DecodeTruthParams p, const Rows rows) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const RowMaxima& r = p.rows;
  const int64_t kv_head = blockIdx.y, row = rows.begin + blockIdx.x, token = p.scored.position(row) - r.start;
  const int group = r.n_heads / p.n_kv_heads;
  const int64_t first = kv_head * group * r.n_tokens + token;
  make_row<4>(
      p.out + (kv_head * p.scored.n + row) * p.n_blocks,
      {r.maxima + first * r.row_capacity, r.log_sums + first, r.n_tokens * r.row_capacity, r.n_tokens, group},
      p.scored.visible(row), p.n_blocks);
}

// Returns the rows with positions from `first` on and before `end`.
Rows rows_between(const ScoredRows& scored, int64_t first, int64_t end) {
  const int64_t begin = scored.row_from(first);
  return {begin, scored.row_from(end) - begin};
}

// Returns whether every row fits n_blocks and row_capacity. The last row sees the most blocks.
bool fit(const ScoredRows& scored, const Rows& rows, int64_t n_blocks, int64_t row_capacity) {
  if (rows.n == 0) return true;
  const int64_t most = scored.visible(rows.begin + rows.n - 1);
  return most <= n_blocks && most <= row_capacity;
}

dim3 grid(int64_t x, int64_t y) { return {static_cast<unsigned>(x), static_cast<unsigned>(y)}; }

}  // namespace

cudaError_t launch_prefill_truth(const PrefillTruthParams& params, cudaStream_t stream) {
  const RowMaxima& r = params.rows;
  const Rows rows = rows_between(params.scored, r.start / r.page_tokens,
                                 (r.start + r.n_tokens + r.page_tokens - 1) / r.page_tokens);
  if (r.page_tokens > kMostRows || r.start % r.page_tokens != 0 ||
      !fit(params.scored, rows, params.n_blocks, r.row_capacity))
    return cudaErrorInvalidValue;
  return launch(prefill_truth_kernel, grid(rows.n, r.n_heads), kThreads, 0, stream, params, rows);
}

cudaError_t launch_decode_truth(const DecodeTruthParams& params, cudaStream_t stream) {
  const RowMaxima& r = params.rows;
  const Rows rows = rows_between(params.scored, r.start, r.start + r.n_tokens);
  if (r.n_heads / params.n_kv_heads > kMostRows || !fit(params.scored, rows, params.n_blocks, r.row_capacity))
    return cudaErrorInvalidValue;
  return launch(decode_truth_kernel, grid(rows.n, params.n_kv_heads), kThreads, 0, stream, params, rows);
}

}  // namespace seer::cuda
