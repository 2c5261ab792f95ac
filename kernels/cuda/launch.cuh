// Launches kernels with programmatic dependent launch: a kernel's beginning overlaps the end of the previous
// kernel. So every kernel that is launched so must call ptx::wait_for_previous_kernel() before it writes
// anything, and before it reads anything that a kernel of the same step writes. Weights, page tables and the
// keys of earlier steps may be read before that call.
#pragma once

#include <cuda_runtime.h>

namespace seer::cuda {

// Each `cluster` neighbouring blocks along the grid's x form a cluster; more than 1 needs sm_90.
template <class... Parameters, class... Arguments>
cudaError_t launch_clusters(void (*kernel)(Parameters...), dim3 grid, int cluster, int threads,
                            int shared_bytes, cudaStream_t stream, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return cudaSuccess;  // no rows, no work
  // Up to 48 KiB need no permission, but a kernel's static shared memory counts as well.
  if (shared_bytes > 32 * 1024) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (error != cudaSuccess) return error;
  }
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.stream = stream;
  config.attrs = attributes;  // the first is ignored by GPUs before sm_90
  config.numAttrs = cluster > 1 ? 2 : 1;
  return cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, int threads, int shared_bytes,
                   cudaStream_t stream, Arguments... arguments) {
  return launch_clusters(kernel, grid, 1, threads, shared_bytes, stream, arguments...);
}

// Every GPU that has clusters runs them with up to this many blocks. Larger ones run only on some GPUs, and
// need allow_large_clusters().
inline constexpr int kPortableCluster = 8;

template <class... Parameters>
cudaError_t allow_large_clusters(void (*kernel)(Parameters...)) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
}

// Returns how many clusters of the kernel an idle GPU runs at the same time; 0 if it cannot run any.
template <class... Parameters>
int count_active_clusters(void (*kernel)(Parameters...), int cluster, int threads, int shared_bytes) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(cluster));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.attrs = &attribute;
  config.numAttrs = 1;
  int n = 0;
  const bool counted = (cluster <= kPortableCluster || allow_large_clusters(kernel) == cudaSuccess) &&
                       cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            shared_bytes) == cudaSuccess &&
                       cudaOccupancyMaxActiveClusters(&n, kernel, &config) == cudaSuccess;
  (void)cudaGetLastError();  // if the GPU has no clusters of this size, that is no error here
  return counted ? n : 0;
}

// Use this for the kernels of a decode step, and not for kernels that read through L1, which it makes small
// (a copy went from 4.0 to 3.4 TB/s). Blocks of two kernels run on a multiprocessor at the same time only if
// both kernels split its memory between L1 and shared memory alike. Otherwise the second kernel waits until
// the multiprocessor is empty, and decoding took 8% longer.
template <class... Parameters>
cudaError_t prefer_shared_memory(void (*kernel)(Parameters...)) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                              cudaSharedmemCarveoutMaxShared);
}

}  // namespace seer::cuda
