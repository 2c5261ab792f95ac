#include <algorithm>
#include <cassert>

#include "kernels/cuda/attention/prefill_sm90/kernel.cuh"
#include "kernels/cuda/launch.cuh"

namespace seer::cuda {
namespace {

template <int kDHead, bool kBundled>
cudaError_t launch_kernel(const PrefillSm90Params& p, const TileMaps& maps, int n_multiprocessors,
                          cudaStream_t stream) {
  using Shape = WgmmaShape<kDHead>;
  const Items items(p, kBundled);
  const auto kernel = prefill_sm90_kernel<kDHead, kBundled>;
  const dim3 n_blocks(static_cast<unsigned>(std::min(n_multiprocessors, items.n_items)));
  return launch(kernel, n_blocks, Shape::kThreads, Shape::kSharedBytes, stream, p, items, maps);
}

// Without a mask every block is kept, and bundles share loads. But a few query blocks after a long prompt
// give too few bundles for all multiprocessors.
template <int kDHead>
cudaError_t launch_d_head(const PrefillSm90Params& p, const TileMaps& maps, int n_multiprocessors,
                          cudaStream_t stream) {
  const bool bundled = p.counts == nullptr && Items(p, true).n_items >= n_multiprocessors;
  return bundled ? launch_kernel<kDHead, true>(p, maps, n_multiprocessors, stream)
                 : launch_kernel<kDHead, false>(p, maps, n_multiprocessors, stream);
}

using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                            const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                            CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// The driver's own function, found at run time so that libcuda need not be linked.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  if (cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault,
                                       &found) != cudaSuccess ||
      found != cudaDriverEntryPointSuccess)
    return nullptr;
  return reinterpret_cast<Encode>(function);
}

}  // namespace

bool make_tile_maps(TileMaps* maps, const PrefillSm90Params& params, const void* k, const void* v,
                    int64_t n_pages, int64_t n_rows) {
  static const Encode encode = find_encode();
  if (encode == nullptr) return false;
  // The box has the columns of a panel, rows, and panels: it is a tile in the layout of the products, one
  // panel after another.
  const auto n_panels = static_cast<cuuint32_t>(params.d_head / 64);
  const cuuint32_t box[3] = {64, kTile, n_panels}, steps[3] = {1, 1, 1};
  const auto make = [&](CUtensorMap* map, const void* data, int64_t rows, int heads_of_row) {
    const cuuint64_t n_panels_of_row =
                         static_cast<cuuint64_t>(n_panels) * static_cast<cuuint64_t>(heads_of_row),
                     dims[3] = {64, static_cast<cuuint64_t>(rows), n_panels_of_row},
                     strides[2] = {n_panels_of_row * 128, 128};
    return encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(data), dims, strides, box,
                  steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
  };
  const int64_t pool_rows = n_pages * params.n_kv_heads * kTile;
  return make(&maps->k, k, pool_rows, 1) && make(&maps->v, v, pool_rows, 1) &&
         make(&maps->q, params.q, n_rows, params.n_heads);
}

cudaError_t launch_prefill_sm90(const PrefillSm90Params& params, const TileMaps& maps, int n_multiprocessors,
                                cudaStream_t stream) {
  switch (params.d_head) {
    case 64:
      return launch_d_head<64>(params, maps, n_multiprocessors, stream);
    case 128:
      return launch_d_head<128>(params, maps, n_multiprocessors, stream);
    default:
      assert(false && "the backend takes another kernel for other head sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
