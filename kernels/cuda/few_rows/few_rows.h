// Linear layers of one or two rows: a decode step, bound by reading the weights once.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/device.h"

namespace seer::cuda {

struct FewRowsParams {
  void* out;           // bf16 or float32 [n, d_out]; bf16 [n, d_out / 2] with swiglu
  const void* x;       // bf16 [n, d_in]
  const void* weight;  // bf16 [d_out, d_in]
  const void* bias;    // bf16 [d_out] or null
  const void* norm;    // bf16 [d_in]: x is RMS-normalised on the way in; null: x as it is
  float eps;           // of the norm
  int n;
  int64_t d_in, d_out;  // multiples of 8
  bool accumulate;      // out += ...; bf16 only
  bool float_out;
  bool swiglu;  // weight is gate above up; out = silu(gate x) * (up x)
};

// Whether a kernel here takes this shape; others are cuBLASLt's.
bool few_rows_fits(const Device& device, int64_t n, int64_t d_in);
// On the stream of `device`: which kernel runs where is decided in few_rows.cc.
cudaError_t launch_few_rows(const FewRowsParams& params, const Device& device, cudaStream_t stream);

// Weights through registers: every GPU.
bool few_rows_direct_fits(int64_t n, int64_t d_in, int max_shared_bytes);
cudaError_t launch_few_rows_direct(const FewRowsParams& params, int n_multiprocessors, int max_shared_bytes,
                                   cudaStream_t stream);

// Weights through rings in shared memory that the bulk copy engine fills: Hopper.
bool few_rows_stream_fits(int64_t n, int64_t d_in, int max_shared_bytes);
cudaError_t launch_few_rows_stream(const FewRowsParams& params, int n_multiprocessors, int max_shared_bytes,
                                   cudaStream_t stream);

}  // namespace seer::cuda
