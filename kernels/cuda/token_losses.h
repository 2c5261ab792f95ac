// The loss of each row's target: log(sum(exp(logits))) less the target's logit. One thread block a row.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace seer::cuda {

struct TokenLossesParams {
  double* losses;          // [n]; may be host memory that the device can write to
  const float* logits;     // [n, n_vocab]
  const int32_t* targets;  // [n], each in [0, n_vocab); may be such host memory too
  int64_t n_vocab;
};

cudaError_t launch_token_losses(const TokenLossesParams& params, int64_t n, cudaStream_t stream);

}  // namespace seer::cuda
