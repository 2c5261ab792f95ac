// Programmatic dependent launch (sm_90): a kernel may start before the previous kernel has finished, and
// waits only when it first needs that one's results. On older GPUs both functions do nothing.
#pragma once

namespace seer::cuda::ptx {

// After this call, everything that earlier kernels wrote is visible.
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;\n" ::: "memory");
#endif
}

// The next kernel may start once every thread block of this one has called this or has ended.
__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\n" ::: "memory");
#endif
}

}  // namespace seer::cuda::ptx
