#include "kernels/cuda/device_memory.h"

#include <cuda_runtime.h>

#include "kernels/cuda/check.h"

namespace seer::cuda {
namespace {

std::string mib(int64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

DeviceMemory::DeviceMemory(int64_t bytes, const std::string& purpose) {
  const cudaError_t error = cudaMalloc(&data_, static_cast<size_t>(bytes > 0 ? bytes : 1));
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();  // otherwise the next launch would report it again
    size_t free = 0, total = 0;
    (void)cudaMemGetInfo(&free, &total);
    throw Error(ErrorKind::kMemory,
                "the GPU has no room for " + purpose + ": expected " + mib(bytes) + " free, found " +
                    mib(static_cast<int64_t>(free)) + " of " + mib(static_cast<int64_t>(total)) +
                    ". Use a smaller --ctx-size or --chunk-size, or end what else runs on this GPU.");
  }
  check(error, "cudaMalloc");
  bytes_ = bytes;
}

DeviceMemory::~DeviceMemory() {
  if (data_ != nullptr) (void)cudaFree(data_);
}

PinnedMemory::PinnedMemory(int64_t bytes, const std::string& purpose) {
  const cudaError_t error = cudaMallocHost(&data_, static_cast<size_t>(bytes > 0 ? bytes : 1));
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw Error(ErrorKind::kMemory, "cannot lock " + mib(bytes) + " of host memory for " + purpose);
  }
  check(error, "cudaMallocHost");
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) (void)cudaFreeHost(data_);
}

}  // namespace seer::cuda
