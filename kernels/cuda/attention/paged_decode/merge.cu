// Merges the results of decode attention over parts of the keys. By then each rank has the other ranks' parts
// in its memory.
#include <cuda_bf16.h>

#include "kernels/cuda/attention/paged_decode/params.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 128;

// Each thread takes one element. It goes over the parts once and rescales when a larger logarithm comes, so
// that loads of one part need not wait for another's. NaN stays NaN: only -infinity means that a part has no
// keys.
__global__ void __launch_bounds__(kThreads) merge_attention_kernel(const MergeParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.n_rows * p.d_head) return;
  const int64_t row = i / p.d_head, n_outputs = p.n_rows * p.d_head;
  float top = -INFINITY, sum = 0.0F, total = 0.0F;
#pragma unroll 4
  for (int part = 0; part < p.n_parts; ++part) {
    const float* from = p.parts + part * (n_outputs + p.n_rows);
    const float value = from[i], log_sum = from[n_outputs + row];
    if (log_sum == -INFINITY) continue;
    const float higher = fmaxf(top, log_sum), before = __expf(top - higher);
    const float weight = __expf(log_sum - higher);
    sum = sum * before + value * weight;
    total = total * before + weight;
    top = higher;
  }
  static_cast<__nv_bfloat16*>(p.out)[i] = __float2bfloat16(total == 0.0F ? 0.0F : sum / total);
}

}  // namespace

cudaError_t launch_merge_attention(const MergeParams& params, cudaStream_t stream) {
  const int64_t n = params.n_rows * params.d_head;
  const cudaError_t error = prefer_shared_memory(merge_attention_kernel);
  if (error != cudaSuccess) return error;
  return launch(merge_attention_kernel, dim3(static_cast<unsigned>((n + kThreads - 1) / kThreads)), kThreads,
                0, stream, params);
}

}  // namespace seer::cuda
