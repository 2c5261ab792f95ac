#include "kernels/cuda/rows.h"

#include <cuda_fp16.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/mma.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/random_weights.h"

namespace seer::cuda {
namespace {

constexpr int kThreads = 256;

using Bf16 = __nv_bfloat16;

// Each block copies one row of `width` elements, 16 bytes for each thread.
__device__ void copy_row(Bf16* out, const Bf16* in, int64_t width) {
  for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8) store8(out + i, load8(in + i));
}

__global__ void __launch_bounds__(kThreads)
    take_rows_kernel(Bf16* out, const Bf16* table, const int32_t* rows, int64_t width, int64_t first,
                     int64_t n_rows) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t i = blockIdx.x, row = static_cast<int64_t>(rows[i]) - first;
  if (row >= 0 && row < n_rows) {
    copy_row(out + i * width, table + row * width, width);
  } else {
    for (int64_t c = threadIdx.x * 8; c < width; c += kThreads * 8)
      *reinterpret_cast<uint4*>(out + i * width + c) = uint4{0, 0, 0, 0};
  }
}

// Each block orders the columns of one row, eight at a time in each thread.
__global__ void __launch_bounds__(kThreads)
    order_columns_kernel(Bf16* out, const Bf16* x, const int32_t* order, int64_t width) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const Bf16* in = x + blockIdx.x * width;
  for (int64_t j = threadIdx.x * 8; j < width; j += kThreads * 8) {
    float values[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) values[k] = __bfloat162float(in[order[j + k]]);
    store8(out + blockIdx.x * width + j, Bf16x8::from_floats(values));
  }
}

__device__ void load_floats(float (&v)[8], const Bf16* p) { load8(p).to_floats(v); }
__device__ void load_floats(float (&v)[8], const float* p) {
  const float4 low = reinterpret_cast<const float4*>(p)[0], high = reinterpret_cast<const float4*>(p)[1];
  v[0] = low.x, v[1] = low.y, v[2] = low.z, v[3] = low.w;
  v[4] = high.x, v[5] = high.y, v[6] = high.z, v[7] = high.w;
}

template <class T>
__global__ void __launch_bounds__(kThreads) add_kernel(Bf16* x, const T* y, int64_t n) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 8;
  if (i >= n) return;
  float sum[8], more[8];
  load_floats(sum, x + i);
  load_floats(more, y + i);
#pragma unroll
  for (int k = 0; k < 8; ++k) sum[k] += more[k];
  store8(x + i, Bf16x8::from_floats(sum));
}

__global__ void __launch_bounds__(kThreads) fill_rows_kernel(float4* out, const Bf16* row, int64_t width) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  for (int64_t i = threadIdx.x * 8; i < width; i += kThreads * 8) {
    float v[8];
    load8(row + i).to_floats(v);
    float4* to = out + (blockIdx.x * width + i) / 4;
    to[0] = {v[0], v[1], v[2], v[3]};
    to[1] = {v[4], v[5], v[6], v[7]};
  }
}

__global__ void __launch_bounds__(kThreads)
    rms_norm_kernel(Bf16* out, const Bf16* x, const Bf16* weight, float eps, int64_t d_model) {
  __shared__ float warps[kThreads / 32];
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const Bf16* in = x + blockIdx.x * d_model;
  float squares = 0.0F;
  for (int64_t i = threadIdx.x * 8; i < d_model; i += kThreads * 8) {
    float v[8];
    load8(in + i).to_floats(v);
#pragma unroll
    for (const float f : v) squares += f * f;
  }
  const float scale = rsqrtf(block_sum<kThreads>(squares, warps) / static_cast<float>(d_model) + eps);
  // The second read of the row comes from L1.
  for (int64_t i = threadIdx.x * 8; i < d_model; i += kThreads * 8) {
    float v[8], w[8];
    load8(in + i).to_floats(v);
    load8(weight + i).to_floats(w);
#pragma unroll
    for (int j = 0; j < 8; ++j) v[j] *= scale * w[j];
    store8(out + blockIdx.x * d_model + i, Bf16x8::from_floats(v));
  }
}

__global__ void __launch_bounds__(kThreads) silu_mul_kernel(Bf16* out, const Bf16* gate_up, int64_t d_ff) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * 8, row = blockIdx.y;
  if (i >= d_ff) return;
  float gate[8], up[8];
  load8(gate_up + row * 2 * d_ff + i).to_floats(gate);
  load8(gate_up + (row * 2 + 1) * d_ff + i).to_floats(up);
#pragma unroll
  for (int j = 0; j < 8; ++j) gate[j] *= up[j] / (1.0F + __expf(-gate[j]));
  store8(out + row * d_ff + i, Bf16x8::from_floats(gate));
}

template <class T>
__global__ void __launch_bounds__(kThreads) to_bf16_kernel(Bf16* out, const T* in, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n) out[i] = __float2bfloat16(static_cast<float>(in[i]));
}

__global__ void __launch_bounds__(kThreads)
    random_bf16_kernel(uint16_t* out, uint64_t seed, float mean, float scale, int64_t n, int64_t width,
                       int64_t first, int64_t stride) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < n)
    out[i] = random_bf16(seed, static_cast<uint64_t>(first + i / width * stride + i % width), mean, scale);
}

dim3 blocks_for(int64_t n) { return {static_cast<unsigned>((n + kThreads - 1) / kThreads)}; }

}  // namespace

cudaError_t launch_embed(void* out, const void* table, const int32_t* ids, int64_t n, int64_t d_model,
                         int64_t first_id, int64_t n_ids, cudaStream_t stream) {
  return launch(take_rows_kernel, dim3(static_cast<unsigned>(n)), kThreads, 0, stream,
                static_cast<Bf16*>(out), static_cast<const Bf16*>(table), ids, d_model, first_id, n_ids);
}

cudaError_t launch_add(void* x, const void* y, DType y_type, int64_t n, cudaStream_t stream) {
  const dim3 grid = blocks_for((n + 7) / 8);
  auto* out = static_cast<Bf16*>(x);
  if (y_type == DType::kF32)
    return launch(add_kernel<float>, grid, kThreads, 0, stream, out, static_cast<const float*>(y), n);
  return launch(add_kernel<Bf16>, grid, kThreads, 0, stream, out, static_cast<const Bf16*>(y), n);
}

cudaError_t launch_fill_rows(void* out, const void* row, int64_t n, int64_t width, cudaStream_t stream) {
  return launch(fill_rows_kernel, dim3(static_cast<unsigned>(n)), kThreads, 0, stream,
                static_cast<float4*>(out), static_cast<const Bf16*>(row), width);
}

cudaError_t launch_rms_norm(void* out, const void* x, const void* weight, float eps, int64_t n,
                            int64_t d_model, cudaStream_t stream) {
  return launch(rms_norm_kernel, dim3(static_cast<unsigned>(n)), kThreads, 0, stream, static_cast<Bf16*>(out),
                static_cast<const Bf16*>(x), static_cast<const Bf16*>(weight), eps, d_model);
}

cudaError_t launch_silu_mul(void* out, const void* gate_up, int64_t n, int64_t d_ff, cudaStream_t stream) {
  constexpr int64_t kMaxGridY = 65535;
  for (int64_t row = 0; row < n; row += kMaxGridY) {
    const dim3 grid(blocks_for((d_ff + 7) / 8).x,
                    static_cast<unsigned>(n - row < kMaxGridY ? n - row : kMaxGridY));
    const cudaError_t error =
        launch(silu_mul_kernel, grid, kThreads, 0, stream, static_cast<Bf16*>(out) + row * d_ff,
               static_cast<const Bf16*>(gate_up) + row * 2 * d_ff, d_ff);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

cudaError_t launch_gather_rows(void* out, const void* x, const int32_t* rows, int64_t n, int64_t width,
                               cudaStream_t stream) {
  return launch_embed(out, x, rows, n, width, 0, INT64_MAX, stream);
}

cudaError_t launch_order_columns(void* out, const void* x, const int32_t* order, int64_t n, int64_t width,
                                 cudaStream_t stream) {
  return launch(order_columns_kernel, dim3(static_cast<unsigned>(n)), kThreads, 0, stream,
                static_cast<Bf16*>(out), static_cast<const Bf16*>(x), order, width);
}

cudaError_t launch_to_bf16(void* out, const void* in, DType dtype, int64_t n, cudaStream_t stream) {
  if (n == 0) return cudaSuccess;
  if (dtype == DType::kBF16)
    return cudaMemcpyAsync(out, in, static_cast<size_t>(n) * sizeof(Bf16), cudaMemcpyDeviceToDevice, stream);
  if (dtype == DType::kF16) {
    to_bf16_kernel<<<blocks_for(n), kThreads, 0, stream>>>(static_cast<Bf16*>(out),
                                                           static_cast<const __half*>(in), n);
  } else {
    to_bf16_kernel<<<blocks_for(n), kThreads, 0, stream>>>(static_cast<Bf16*>(out),
                                                           static_cast<const float*>(in), n);
  }
  return cudaPeekAtLastError();
}

cudaError_t launch_random_bf16(void* out, uint64_t seed, float mean, float scale, int64_t n, int64_t width,
                               int64_t first, int64_t stride, cudaStream_t stream) {
  if (n == 0) return cudaSuccess;
  random_bf16_kernel<<<blocks_for(n), kThreads, 0, stream>>>(static_cast<uint16_t*>(out), seed, mean, scale,
                                                             n, width, first, stride);
  return cudaPeekAtLastError();
}

}  // namespace seer::cuda
