#include "kernels/cuda/check.h"

#include <string>

namespace seer::cuda {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  const std::string text =
      std::string(what) + " failed: " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error);
  if (error == cudaErrorMemoryAllocation)
    throw Error(ErrorKind::kMemory,
                "the GPU is out of memory: " + text +
                    ". Use a smaller --ctx-size or --chunk-size, or a lower --gpu-memory-utilization.");
  throw Error(ErrorKind::kDevice, "the GPU failed: " + text +
                                      ". The engine cannot go on; start it again, and report this if it "
                                      "comes back (--device cpu works).");
}

}  // namespace seer::cuda
