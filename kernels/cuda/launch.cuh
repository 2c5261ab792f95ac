// One way to launch a kernel: with programmatic dependent launch, so that its prologue overlaps the end of
// the kernel in front of it. Every kernel launched so must call ptx::wait_for_previous_kernel before it reads
// or writes anything that another kernel touches, whatever else it does.
#pragma once

#include <cuda_runtime.h>

namespace seer::cuda {

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, int threads, int shared_bytes,
                   cudaStream_t stream, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;  // no rows, no work
  // 48 KiB need no permission, but a kernel's static shared memory counts too.
  if (shared_bytes > 32 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (error != cudaSuccess) return error;
  }
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;  // ignored by GPUs before sm_90
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

// For the kernels of a decode step: blocks of two kernels stand side by side only where both split a
// multiprocessor's memory alike; a kernel of another split waits until the multiprocessor is empty (decoding
// took 8% longer). Not for kernels that read through L1, which this makes small (a copy went from 4.0 to 3.4
// TB/s).
template <class... Parameters>
cudaError_t prefer_shared_memory(void (*kernel)(Parameters...)) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                              cudaSharedmemCarveoutMaxShared);
}

}  // namespace seer::cuda
