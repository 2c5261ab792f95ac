// The choice of a token from each row of logits (kernels/sample_row.h), one thread block a row.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/sample_row.h"

namespace seer::cuda {

// A SampleRow as the kernel reads it.
struct SampleRowParams {
  float inv_temperature = 0.0F;  // 0: greedy
  int32_t top_k = 0;             // 0: all
  double top_p = 1.0;
  double uniform = 0.0;
  uint64_t min_weight = 0;   // weight of the least likely token that min_p keeps
  int64_t first_change = 0;  // into changes
  int64_t n_changes = 0;

  static SampleRowParams of(const SampleRow& row, int64_t first_change);
};

struct SampleParams {
  int32_t* ids;   // [n]; may be host memory that the device can write to
  float* logits;  // [n, n_vocab]
  int32_t n_vocab;
  const SampleRowParams* rows;  // [n]
  const LogitChange* changes;
};

cudaError_t launch_sample(const SampleParams& params, int64_t n, cudaStream_t stream);

}  // namespace seer::cuda
