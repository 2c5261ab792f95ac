// CUDA's return codes as Seer's errors.
#pragma once

#include <cuda_runtime.h>

#include "seer/error.h"

namespace seer::cuda {

// Throws Error{kDevice} (kMemory for an allocation that failed) that names the call.
void check(cudaError_t error, const char* what);

}  // namespace seer::cuda
