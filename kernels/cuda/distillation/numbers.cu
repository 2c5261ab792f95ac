// The numbers of all gates as one list: filling it, sums of squares, and a step of AdamW.
#include "kernels/cuda/distillation/learn.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kNumbersOfPart = 16384;  // numbers whose squares a thread block adds up

__global__ void __launch_bounds__(kThreads) fill_kernel(float* out, float value, int64_t n) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) out[i] = value;
}

// Returns the sum over the thread block in thread 0. Halves are added pairwise.
__device__ double sum_of_block(double x) {
  __shared__ double of_threads[kThreads];
  of_threads[threadIdx.x] = x;
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) of_threads[threadIdx.x] += of_threads[threadIdx.x + half];
    __syncthreads();
  }
  return of_threads[0];
}

// Grid: parts of a row, rows.
__global__ void __launch_bounds__(kThreads) squares_kernel(const SumsOfSquaresParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const float* row = p.x + static_cast<int64_t>(blockIdx.y) * p.width;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kNumbersOfPart,
                end = min(p.n, first + kNumbersOfPart);
  double sum = 0.0;
  for (int64_t i = first + threadIdx.x; i < end; i += kThreads) {
    const double x = row[i];
    sum += x * x;
  }
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) p.partials[static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = sum;
}

// Grid: rows.
__global__ void __launch_bounds__(kThreads) add_squares_kernel(const SumsOfSquaresParams p, int64_t n_parts) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const double* of_row = p.partials + static_cast<int64_t>(blockIdx.x) * n_parts;
  double sum = 0.0;
  for (int64_t i = threadIdx.x; i < n_parts; i += kThreads) sum += of_row[i];
  sum = sum_of_block(sum);
  if (threadIdx.x == 0) p.out[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads) adamw_kernel(const AdamWParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.n) return;
  const float g = p.gradients[i] * p.gradient_scale;
  const float m = p.beta1 * p.moments[i] + (1.0F - p.beta1) * g;
  const float v = p.beta2 * p.second_moments[i] + (1.0F - p.beta2) * g * g;
  p.moments[i] = m;
  p.second_moments[i] = v;
  p.parameters[i] = p.parameters[i] * p.decay - p.rate * m / (sqrtf(v * p.second) + p.epsilon);
}

dim3 blocks_for(int64_t n, int64_t each) { return {static_cast<unsigned>((n + each - 1) / each)}; }

}  // namespace

cudaError_t launch_fill_numbers(float* out, float value, int64_t n, cudaStream_t stream) {
  return launch(fill_kernel, blocks_for(n, kThreads), kThreads, 0, stream, out, value, n);
}

int64_t sums_of_squares_partials(int64_t n_rows, int64_t n) {
  return n_rows * ((n + kNumbersOfPart - 1) / kNumbersOfPart);
}

cudaError_t launch_sums_of_squares(const SumsOfSquaresParams& params, cudaStream_t stream) {
  dim3 grid = blocks_for(params.n, kNumbersOfPart);
  grid.y = static_cast<unsigned>(params.n_rows);
  const cudaError_t error = launch(squares_kernel, grid, kThreads, 0, stream, params);
  if (error != cudaSuccess) return error;
  return launch(add_squares_kernel, dim3(grid.y), kThreads, 0, stream, params, static_cast<int64_t>(grid.x));
}

cudaError_t launch_adamw(const AdamWParams& params, cudaStream_t stream) {
  return launch(adamw_kernel, blocks_for(params.n, kThreads), kThreads, 0, stream, params);
}

}  // namespace seer::cuda
