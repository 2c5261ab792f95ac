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
  const void* norm;    // bf16 [d_in]: weights of x's RMS norm; null: x is used as it is
  float eps;           // of the norm
  int n;
  int64_t d_in, d_out;  // multiples of 8
  bool accumulate;      // out += ...; bf16 only
  bool float_out;
  bool swiglu;  // weight is the rows of gate, then those of up; out = silu(gate x) * (up x)
};

// Returns whether these kernels take the shape. Other shapes go to cuBLASLt.
bool few_rows_fits(const Device& device, int64_t n, int64_t d_in);
// Launches the kernel that few_rows.cc chooses for `device`.
cudaError_t launch_few_rows(const FewRowsParams& params, const Device& device, cudaStream_t stream);

// The kernel for every GPU, which reads weights into registers.
bool few_rows_direct_fits(int64_t n, int64_t d_in, int max_shared_bytes);
cudaError_t launch_few_rows_direct(const FewRowsParams& params, int n_multiprocessors, int max_shared_bytes,
                                   cudaStream_t stream);

// The kernel for Hopper, which reads weights through rings in shared memory that the bulk copy engine fills.
bool few_rows_stream_fits(int64_t n, int64_t d_in, int max_shared_bytes);
cudaError_t launch_few_rows_stream(const FewRowsParams& params, int n_multiprocessors, int max_shared_bytes,
                                   cudaStream_t stream);

}  // namespace seer::cuda
