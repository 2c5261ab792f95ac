// Marks the blocks that any list of a mask contains.
#include "kernels/cuda/gate/params.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 128;

// Each thread block takes a list. Several may write the same value to the same place, in any order.
__global__ void __launch_bounds__(kThreads)
    mark_kernel(float* marks, const int32_t* counts, const int32_t* blocks, int64_t row_capacity) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const int64_t list = blockIdx.x;
  for (int i = static_cast<int>(threadIdx.x); i < counts[list]; i += kThreads)
    marks[blocks[list * row_capacity + i]] = 1.0F;
}

}  // namespace

cudaError_t launch_gate_mark(float* marks, const int32_t* counts, const int32_t* blocks, int64_t n_lists,
                             int64_t row_capacity, cudaStream_t stream) {
  return launch(mark_kernel, dim3(static_cast<unsigned>(n_lists)), kThreads, 0, stream, marks, counts, blocks,
                row_capacity);
}

}  // namespace seer::cuda
