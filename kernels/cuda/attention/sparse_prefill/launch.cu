#include <algorithm>
#include <cassert>

#include "kernels/cuda/attention/sparse_prefill/kernel.cuh"
#include "kernels/cuda/launch.cuh"

namespace seer::cuda {
namespace {

template <int kDHead>
cudaError_t launch_d_head(const WgmmaPrefillParams& p, const PageMaps& maps, int n_multiprocessors,
                          cudaStream_t stream) {
  using Shape = WgmmaShape<kDHead>;
  const Items items(p);
  const auto kernel = wgmma_prefill_kernel<kDHead>;
  const dim3 n_blocks(static_cast<unsigned>(std::min(n_multiprocessors, items.n_items)));
  return launch(kernel, n_blocks, Shape::kThreads, Shape::kSharedBytes, stream, p, items, maps);
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

bool make_page_maps(PageMaps* maps, const void* k, const void* v, int64_t n_pages, int n_kv_heads,
                    int d_head) {
  static const Encode encode = find_encode();
  if (encode == nullptr) return false;
  // Columns of a panel, rows of the pool, panels: a box is a tile as the products want it, panel behind
  // panel.
  const cuuint64_t row_bytes = static_cast<cuuint64_t>(d_head) * 2;
  const auto n_panels = static_cast<cuuint32_t>(d_head / 64);
  const cuuint64_t dims[3] = {64, static_cast<cuuint64_t>(n_pages * n_kv_heads * kTile), n_panels};
  const cuuint64_t strides[2] = {row_bytes, 128};
  const cuuint32_t box[3] = {64, kTile, n_panels}, steps[3] = {1, 1, 1};
  const auto make = [&](CUtensorMap* map, const void* data) {
    return encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<void*>(data), dims, strides, box,
                  steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                  CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
  };
  return make(&maps->k, k) && make(&maps->v, v);
}

cudaError_t launch_wgmma_prefill(const WgmmaPrefillParams& params, const PageMaps& maps,
                                 int n_multiprocessors, cudaStream_t stream) {
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
