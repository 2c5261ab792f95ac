// Programmatic dependent launch (sm_90): a kernel may start before the one in front of it has finished, and
// waits where it first needs that one's results. On older GPUs both verbs do nothing, and the launch
// attribute is not set.
#pragma once

namespace seer::cuda::ptx {

// Everything written by the kernels before this one is visible behind it.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}

// The kernel behind this one may start once every thread block has said this or ended.
__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

}  // namespace seer::cuda::ptx
