// Chooses a kernel shape for one d_head. Each d_head is a source file of its own, so that they compile in
// parallel.
#pragma once

#include "kernels/cuda/attention/prefill_sm80/kernel.cuh"

namespace seer::cuda {

template <class Shape>
cudaError_t launch_shape(const PrefillSm80Params& p, cudaStream_t stream) {
  const auto kernel = prefill_sm80_kernel<Shape>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kSharedBytes);
  if (error != cudaSuccess) return error;
  const int64_t n_tiles = (p.n_tokens - p.first_token + Shape::kTileRows - 1) / Shape::kTileRows;
  const auto n_blocks = static_cast<unsigned>(n_tiles * p.n_heads);
  kernel<<<n_blocks, Shape::kThreads, Shape::kSharedBytes, stream>>>(p, {});
  return cudaPeekAtLastError();
}

// Without a mask, a warp takes 32 rows and so reads each key half as often. With a mask, a tile must stay
// within its block row.
template <int kDHead>
cudaError_t launch_d_head(const PrefillSm80Params& p, cudaStream_t stream) {
  if (p.page_tokens == 16) return launch_shape<PrefillShape<kDHead, 1, 1, 16>>(p, stream);
  if (p.page_tokens == 32) return launch_shape<PrefillShape<kDHead, 2, 1, 32>>(p, stream);
  if constexpr (kDHead <= 128)
    if (p.counts == nullptr) return launch_shape<PrefillShape<kDHead, 4, 2, 64>>(p, stream);
  return launch_shape<PrefillShape<kDHead, 4, 1, 64>>(p, stream);
}

}  // namespace seer::cuda
