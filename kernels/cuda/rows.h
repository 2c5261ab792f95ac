// Operations on rows of activations: embedding, normalization, SwiGLU, gathering, conversion.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/tensor.h"

namespace seer::cuda {

// Row i of out [n, d_model] = table[ids[i] - first_id], or zeros if that index is not in [0, n_ids); bf16.
// d_model must be a multiple of 8. ids: device.
cudaError_t launch_embed(void* out, const void* table, const int32_t* ids, int64_t n, int64_t d_model,
                         int64_t first_id, int64_t n_ids, cudaStream_t stream);
// x += y for n elements, a multiple of 8. x is bf16, y bf16 or float32; the arithmetic is float32.
cudaError_t launch_add(void* x, const void* y, DType y_type, int64_t n, cudaStream_t stream);
// Every row of out [n, width] float32 = row [width] bf16; width a multiple of 8.
cudaError_t launch_fill_rows(void* out, const void* row, int64_t n, int64_t width, cudaStream_t stream);
// RMSNorm (Zhang and Sennrich, 2019, arXiv:1910.07467) of bf16 rows with float32 arithmetic.
cudaError_t launch_rms_norm(void* out, const void* x, const void* weight, float eps, int64_t n,
                            int64_t d_model, cudaStream_t stream);
// out [n, d_ff] = silu(gate) * up from gate_up [n, 2 d_ff]; bf16.
cudaError_t launch_silu_mul(void* out, const void* gate_up, int64_t n, int64_t d_ff, cudaStream_t stream);
// out [n, width] = x[rows[i]]; bf16, rows: device.
cudaError_t launch_gather_rows(void* out, const void* x, const int32_t* rows, int64_t n, int64_t width,
                               cudaStream_t stream);
// Element (r, j) of out [n, width] = x[r, order[j]]; bf16. width must be a multiple of 8. order: device
// [width].
cudaError_t launch_order_columns(void* out, const void* x, const int32_t* order, int64_t n, int64_t width,
                                 cudaStream_t stream);
// n elements of F32, F16 or BF16 to bf16, round to nearest even.
cudaError_t launch_to_bf16(void* out, const void* in, DType dtype, int64_t n, cudaStream_t stream);
// n values of random_bf16 (kernels/random_weights.h) in rows of `width`: element (r, c) is value first + r *
// stride + c.
cudaError_t launch_random_bf16(void* out, uint64_t seed, float mean, float scale, int64_t n, int64_t width,
                               int64_t first, int64_t stride, cudaStream_t stream);

}  // namespace seer::cuda
