// KL divergence of ground truth and softmaxed scores, and its gradient: a warp takes a row. A row is read
// three times: first from memory, and then from L1 or L2, because it has at most some kilobytes.
#include <cmath>

#include "kernels/cuda/distillation/learn.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// Replaces n scores by scale * (softmax(scores) - truth), and returns KL(truth || softmax(scores)). If the
// truth is 0 everywhere, both are 0.
__device__ float replace_by_gradient(float* scores, const float* truth, int64_t n, float scale, int lane) {
  float weight = 0.0F, top = -INFINITY;
  for (int64_t b = lane; b < n; b += 32) {
    weight += truth[b];
    top = fmaxf(top, scores[b]);
  }
  weight = warp_sum(weight);
  // fmaxf() passes over scores that are not numbers, but the sum of the exponentials does not.
  top = warp_max(top);
  if (weight == 0.0F) {
    for (int64_t b = lane; b < n; b += 32) scores[b] = 0.0F;
    return 0.0F;
  }
  float total = 0.0F;
  for (int64_t b = lane; b < n; b += 32) total += expf(scores[b] - top);
  const float log_total = logf(warp_sum(total));
  float loss = 0.0F;
  for (int64_t b = lane; b < n; b += 32) {
    const float t = truth[b], log_p = scores[b] - top - log_total;
    if (t > 0.0F) loss += t * (logf(t) - log_p);
    scores[b] = scale * (expf(log_p) - t);
  }
  return warp_sum(loss);
}

__global__ void __launch_bounds__(kThreads) divergence_kernel(const DivergenceParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / 32;
  if (row >= p.n_heads * p.rows.n) return;
  const int64_t i = row % p.rows.n, n = min(p.n_blocks, p.rows.visible(i));
  const float scale = p.weights == nullptr ? p.scale : p.scale * p.weights[i];
  float* scores = p.scores + row * p.n_blocks;
  const float loss = replace_by_gradient(scores, p.truth + row * p.n_blocks, n, scale, lane);
  for (int64_t b = n + lane; b < p.n_blocks; b += 32) scores[b] = 0.0F;
  if (lane == 0) p.losses[row] = loss;
}

}  // namespace

cudaError_t launch_divergence(const DivergenceParams& params, cudaStream_t stream) {
  const int64_t n_rows = params.n_heads * params.rows.n;
  return launch(divergence_kernel, dim3(static_cast<unsigned>((n_rows + kWarps - 1) / kWarps)), kThreads, 0,
                stream, params);
}

}  // namespace seer::cuda
