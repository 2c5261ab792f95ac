#include <algorithm>
#include <cassert>

#include "kernels/cuda/attention/paged_decode/kernel.cuh"
#include "kernels/cuda/launch.cuh"

namespace seer::cuda {
namespace {

constexpr int kBlocksPerSm = 2;  // as many as shared memory holds at d_head 128

int head_groups(int n_heads, int n_kv_heads) {
  return n_kv_heads * ((n_heads / n_kv_heads + kDecodeRows - 1) / kDecodeRows);
}

template <int kDHead, DecodeKeys kKeys>
cudaError_t launch_kernel(const DecodeParams& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.n_splits),
                  static_cast<unsigned>(head_groups(p.n_heads, p.n_kv_heads)),
                  static_cast<unsigned>(p.n_sequences));
  const cudaError_t error = prefer_shared_memory(paged_decode_kernel<kDHead, kKeys>);
  if (error != cudaSuccess) return error;
  return launch_clusters(paged_decode_kernel<kDHead, kKeys>, grid, p.cluster, kDecodeThreads,
                         DecodeShape<kDHead>::kSharedBytes, stream, p);
}

template <int kDHead>
cudaError_t launch_d_head(const DecodeParams& p, cudaStream_t stream) {
  assert(p.log_sums == nullptr || p.blocks == nullptr);
  return p.log_sums != nullptr ? launch_kernel<kDHead, DecodeKeys::kPart>(p, stream)
         : p.blocks != nullptr ? launch_kernel<kDHead, DecodeKeys::kListed>(p, stream)
                               : launch_kernel<kDHead, DecodeKeys::kAll>(p, stream);
}

}  // namespace

DecodeDivision divide_decode(int n_sequences, int n_heads, int n_kv_heads, int n_multiprocessors,
                             bool has_clusters) {
  const int n_groups = n_sequences * head_groups(n_heads, n_kv_heads);
  const int most = std::clamp(kBlocksPerSm * n_multiprocessors / n_groups, 1, kDecodeMaxSplits);
  int cluster = 1;
  if (has_clusters)
    while (cluster * 2 <= std::min(most, kDecodeMaxCluster)) cluster *= 2;
  return {most / cluster * cluster, cluster};
}

int64_t decode_partial_bytes(int d_head, int n_multiprocessors) {
  return kBlocksPerSm * n_multiprocessors * static_cast<int64_t>(kDecodeRows) * (d_head + 2) *
         static_cast<int64_t>(sizeof(float));
}

cudaError_t launch_paged_decode(const DecodeParams& params, cudaStream_t stream) {
  switch (params.d_head) {
    case 64:
      return launch_d_head<64>(params, stream);
    case 96:
      return launch_d_head<96>(params, stream);
    case 128:
      return launch_d_head<128>(params, stream);
    case 256:
      return launch_d_head<256>(params, stream);
    default:
      assert(false && "the backend refuses other head sizes");
      return cudaErrorInvalidValue;
  }
}

}  // namespace seer::cuda
