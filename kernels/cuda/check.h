// Turns CUDA's return codes into Seer's errors.
#pragma once

#include <cuda_runtime.h>

#include "seer/error.h"

namespace seer::cuda {

// Throws an Error that names the call if it failed: kMemory for an allocation, else kDevice.
void check(cudaError_t error, const char* what);

}  // namespace seer::cuda
