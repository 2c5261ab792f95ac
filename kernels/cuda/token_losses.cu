#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/token_losses.h"

namespace seer::cuda {
namespace {

constexpr int kThreads = 512;

// A sum of exponentials of logits: it is sum * exp(top), and `top` is the largest logit so far. If a larger
// one comes, `sum` is scaled, so the row is read only once.
struct Sum {
  float top;
  double sum;

  __device__ void add(float x) {
    if (x > top) {
      sum *= static_cast<double>(expf(top - x));  // 0 at the first logit, before which top is -inf
      top = x;
    }
    // A logit of -inf adds nothing. If top is -inf too, the difference would be NaN.
    if (x > -INFINITY) sum += static_cast<double>(expf(x - top));
    if (isnan(x)) sum = NAN;
  }

  __device__ void add(const Sum& other) {
    if (other.top > top) {
      sum *= static_cast<double>(expf(top - other.top));
      top = other.top;
    }
    if (other.top > -INFINITY) sum += other.sum * static_cast<double>(expf(other.top - top));
    if (isnan(other.sum)) sum = NAN;
  }
};

__global__ void __launch_bounds__(kThreads) token_losses_kernel(const TokenLossesParams p) {
  __shared__ Sum of_threads[kThreads];
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const float* logits = p.logits + static_cast<int64_t>(blockIdx.x) * p.n_vocab;
  Sum mine = {-INFINITY, 0.0};
  for (int64_t i = threadIdx.x; i < p.n_vocab; i += kThreads) mine.add(logits[i]);
  of_threads[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) of_threads[threadIdx.x].add(of_threads[threadIdx.x + half]);
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  const Sum all = of_threads[0];
  p.losses[blockIdx.x] =
      static_cast<double>(all.top) - static_cast<double>(logits[p.targets[blockIdx.x]]) + log(all.sum);
}

}  // namespace

cudaError_t launch_token_losses(const TokenLossesParams& params, int64_t n, cudaStream_t stream) {
  return launch(token_losses_kernel, dim3(static_cast<unsigned>(n)), kThreads, 0, stream, params);
}

}  // namespace seer::cuda
