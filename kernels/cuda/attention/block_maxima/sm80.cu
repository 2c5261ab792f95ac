// Dense prefill attention of prefill_sm80 that writes the maxima of blocks.
#include <cassert>

#include "kernels/cuda/attention/block_maxima/rows_sm80.cuh"
#include "kernels/cuda/attention/prefill_sm80/kernel.cuh"

namespace seer::cuda {
namespace {

template <class Shape>
cudaError_t launch_shape(const PrefillSm80Params& p, const BlockMaxima& out, cudaStream_t stream) {
  const auto kernel = prefill_sm80_kernel<Shape, MaximaRowsSm80<Shape>>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::kSharedBytes);
  if (error != cudaSuccess) return error;
  const int64_t n_tiles = (p.n_tokens - p.first_token + Shape::kTileRows - 1) / Shape::kTileRows;
  kernel<<<static_cast<unsigned>(n_tiles * p.n_heads), Shape::kThreads, Shape::kSharedBytes, stream>>>(p,
                                                                                                       out);
  return cudaPeekAtLastError();
}

// Chooses the shape of the kernel, as prefill_sm80 does without a mask.
template <int kDHead>
cudaError_t launch_d_head(const PrefillSm80Params& p, const BlockMaxima& out, cudaStream_t stream) {
  switch (p.page_tokens) {
    case 16:
      return launch_shape<PrefillShape<kDHead, 1, 1, 16>>(p, out, stream);
    case 32:
      return launch_shape<PrefillShape<kDHead, 2, 1, 32>>(p, out, stream);
    default:
      return launch_shape<PrefillShape<kDHead, 4, kDHead <= 128 ? 2 : 1, 64>>(p, out, stream);
  }
}

}  // namespace

cudaError_t launch_block_maxima_sm80(const PrefillSm80Params& params, const BlockMaxima& out,
                                     cudaStream_t stream) {
  if (params.counts != nullptr || !fits(out, params.start + params.n_tokens, params.page_tokens))
    return cudaErrorInvalidValue;
  switch (params.d_head) {
    case 64:
      return launch_d_head<64>(params, out, stream);
    case 96:
      return launch_d_head<96>(params, out, stream);
    case 128:
      return launch_d_head<128>(params, out, stream);
    case 256:
      return launch_d_head<256>(params, out, stream);
    default:
      assert(false && "the backend refuses other head sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
