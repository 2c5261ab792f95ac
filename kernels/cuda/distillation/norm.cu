// RMS norms of rows and their gradients: a warp takes a row at a time.
#include "kernels/cuda/distillation/learn.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kRowsOfPart = 64;   // rows whose gradients of the weight a thread block adds up
constexpr int kMostWidth = 1024;  // kWarps sums of each column take 32 KiB of shared memory
constexpr int kColumns = 32;      // columns of the weight that a thread block adds up over all parts
constexpr int kPartsAtOnce = 32;  // threads of a column

__device__ int warp_of_block() { return static_cast<int>(threadIdx.x) / 32; }
__device__ int lane_of_warp() { return static_cast<int>(threadIdx.x) % 32; }

__global__ void __launch_bounds__(kThreads) normalise_kernel(const NormaliseParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + warp_of_block();
  if (row >= p.n_rows) return;
  const float* x = p.x + row * p.width;
  float squares = 0.0F;
  for (int i = lane_of_warp(); i < p.width; i += 32) squares += x[i] * x[i];
  const float scale = 1.0F / sqrtf(warp_sum(squares) / static_cast<float>(p.width) + p.eps);
  for (int i = lane_of_warp(); i < p.width; i += 32) p.out[row * p.width + i] = x[i] * scale * p.weight[i];
}

// With y = w x s and s = 1 / sqrt(mean(x^2) + eps): dx = s (w dy) - x s^3 sum(w dy x) / width, and dw is the
// sum of dy x s over rows. Each lane adds its columns of dw to those of its warp in shared memory.
__device__ void row_back(const NormaliseBackParams& p, int64_t row, float* sums) {
  const float* x = p.x + row * p.width;
  float* dy = p.dy + row * p.width;
  float squares = 0.0F, product = 0.0F;
  for (int i = lane_of_warp(); i < p.width; i += 32) {
    squares += x[i] * x[i];
    product += p.weight[i] * dy[i] * x[i];
  }
  const float width = static_cast<float>(p.width), scale = 1.0F / sqrtf(warp_sum(squares) / width + p.eps);
  const float along = warp_sum(product) * scale * scale * scale / width;
  for (int i = lane_of_warp(); i < p.width; i += 32) {
    const float gradient = dy[i];
    sums[i] += gradient * x[i] * scale;
    dy[i] = scale * p.weight[i] * gradient - along * x[i];
  }
}

__global__ void __launch_bounds__(kThreads) normalise_back_kernel(const NormaliseBackParams p) {
  extern __shared__ float sums[];  // [kWarps, width]
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  float* mine = sums + warp_of_block() * p.width;
  for (int i = lane_of_warp(); i < p.width; i += 32) mine[i] = 0.0F;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kRowsOfPart,
                end = min(p.n_rows, first + kRowsOfPart);
  for (int64_t row = first + warp_of_block(); row < end; row += kWarps) row_back(p, row, mine);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < p.width; i += kThreads) {
    float sum = 0.0F;
    for (int w = 0; w < kWarps; ++w) sum += sums[w * p.width + i];
    p.partials[static_cast<int64_t>(blockIdx.x) * p.width + i] = sum;
  }
}

// Adds the parts of each column to d_weight: a thread adds up every kPartsAtOnce-th part, and the first
// thread of a column then adds up theirs.
__global__ void __launch_bounds__(kColumns* kPartsAtOnce)
    add_parts_kernel(const NormaliseBackParams p, int64_t n_parts) {
  __shared__ float sums[kPartsAtOnce][kColumns];
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int column = static_cast<int>(threadIdx.x) % kColumns, of = static_cast<int>(threadIdx.x) / kColumns;
  const int i = static_cast<int>(blockIdx.x) * kColumns + column;
  float sum = 0.0F;
  if (i < p.width)
    for (int64_t part = of; part < n_parts; part += kPartsAtOnce) sum += p.partials[part * p.width + i];
  sums[of][column] = sum;
  __syncthreads();
  if (of != 0 || i >= p.width) return;
  for (int t = 1; t < kPartsAtOnce; ++t) sum += sums[t][column];
  p.d_weight[i] += sum;
}

int64_t parts_of(int64_t n_rows) { return (n_rows + kRowsOfPart - 1) / kRowsOfPart; }

}  // namespace

cudaError_t launch_normalise(const NormaliseParams& params, cudaStream_t stream) {
  return launch(normalise_kernel, dim3(static_cast<unsigned>((params.n_rows + kWarps - 1) / kWarps)),
                kThreads, 0, stream, params);
}

int64_t normalise_back_partials(int64_t n_rows, int64_t width) { return parts_of(n_rows) * width; }

cudaError_t launch_normalise_back(const NormaliseBackParams& params, cudaStream_t stream) {
  if (params.width > kMostWidth) return cudaErrorInvalidValue;
  const int64_t n_parts = parts_of(params.n_rows);
  const int bytes = kWarps * params.width * static_cast<int>(sizeof(float));
  const cudaError_t error =
      launch(normalise_back_kernel, dim3(static_cast<unsigned>(n_parts)), kThreads, bytes, stream, params);
  if (error != cudaSuccess || params.d_weight == nullptr) return error;
  const int n_blocks = (params.width + kColumns - 1) / kColumns;
  return launch(add_parts_kernel, dim3(static_cast<unsigned>(n_blocks)), kColumns * kPartsAtOnce, 0, stream,
                params, n_parts);
}

}  // namespace seer::cuda
