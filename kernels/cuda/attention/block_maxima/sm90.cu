// Dense prefill attention of prefill_sm90 that writes the maxima of blocks.
#include <algorithm>
#include <cassert>

#include "kernels/cuda/attention/block_maxima/rows_sm90.cuh"
#include "kernels/cuda/attention/prefill_sm90/kernel.cuh"
#include "kernels/cuda/launch.cuh"

namespace seer::cuda {
namespace {

template <int kDHead>
__global__ void __launch_bounds__(WgmmaShape<kDHead>::kThreads, 1)
    block_maxima_sm90_kernel(const PrefillSm90Params p, const Items items,
                             const __grid_constant__ TileMaps maps, const BlockMaxima out) {
  attend_prefill_sm90<kDHead, true>(p, items, maps, MaximaRowsSm90(p, out));
}

template <int kDHead>
cudaError_t launch_d_head(const PrefillSm90Params& p, const TileMaps& maps, const BlockMaxima& out,
                          int n_multiprocessors, cudaStream_t stream) {
  using Shape = WgmmaShape<kDHead>;
  const Items items(p, true);
  const dim3 n_blocks(static_cast<unsigned>(std::min(n_multiprocessors, items.n_items)));
  return launch(block_maxima_sm90_kernel<kDHead>, n_blocks, Shape::kThreads, Shape::kSharedBytes, stream, p,
                items, maps, out);
}

}  // namespace

cudaError_t launch_block_maxima_sm90(const PrefillSm90Params& params, const TileMaps& maps,
                                     const BlockMaxima& out, int n_multiprocessors, cudaStream_t stream) {
  if (params.counts != nullptr || !fits(out, params.start + params.n_tokens, kTile))
    return cudaErrorInvalidValue;
  switch (params.d_head) {
    case 64:
      return launch_d_head<64>(params, maps, out, n_multiprocessors, stream);
    case 128:
      return launch_d_head<128>(params, maps, out, n_multiprocessors, stream);
    default:
      assert(false && "the caller takes another kernel for other head sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
