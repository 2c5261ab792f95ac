#include <algorithm>
#include <bit>
#include <cassert>

#include "kernels/cuda/attention/paged_decode/kernel.cuh"
#include "kernels/cuda/launch.cuh"

namespace seer::cuda {
namespace {

constexpr int kBlocksPerSm = 2;  // narrow blocks: as many as shared memory holds at d_head 128

// Shared memory has no room for wide blocks with heads of 256.
constexpr bool has_wide_blocks(int d_head) { return d_head <= 128; }

int head_groups(int n_heads, int n_kv_heads) {
  return n_kv_heads * ((n_heads / n_kv_heads + kDecodeRows - 1) / kDecodeRows);
}

template <int kDHead, int kWarps, DecodeKeys kKeys>
cudaError_t launch_kernel(const DecodeParams& p, cudaStream_t stream) {
  constexpr auto* kKernel = paged_decode_kernel<kDHead, kWarps, kKeys>;
  using Shape = DecodeShape<kDHead, kWarps>;
  const dim3 grid(static_cast<unsigned>(p.division.n_splits),
                  static_cast<unsigned>(head_groups(p.n_heads, p.n_kv_heads)),
                  static_cast<unsigned>(p.n_sequences));
  cudaError_t error = prefer_shared_memory(kKernel);
  if (error == cudaSuccess && p.division.cluster > kPortableCluster) error = allow_large_clusters(kKernel);
  if (error != cudaSuccess) return error;
  return launch_clusters(kKernel, grid, p.division.cluster, Shape::kThreads, Shape::kSharedBytes, stream, p);
}

template <int kDHead, int kWarps>
cudaError_t launch_warps(const DecodeParams& p, cudaStream_t stream) {
  assert(p.log_sums == nullptr || p.blocks == nullptr);
  return p.log_sums != nullptr ? launch_kernel<kDHead, kWarps, DecodeKeys::kPart>(p, stream)
         : p.blocks != nullptr ? launch_kernel<kDHead, kWarps, DecodeKeys::kListed>(p, stream)
                               : launch_kernel<kDHead, kWarps, DecodeKeys::kAll>(p, stream);
}

template <int kDHead>
cudaError_t launch_d_head(const DecodeParams& p, cudaStream_t stream) {
  if constexpr (has_wide_blocks(kDHead))
    if (p.division.wide) return launch_warps<kDHead, kDecodeWideWarps>(p, stream);
  assert(!p.division.wide);
  return launch_warps<kDHead, kDecodeNarrowWarps>(p, stream);
}

template <int kDHead>
int count_wide_clusters(int cluster) {
  using Shape = DecodeShape<kDHead, kDecodeWideWarps>;
  return count_active_clusters(paged_decode_kernel<kDHead, kDecodeWideWarps, DecodeKeys::kAll>, cluster,
                               Shape::kThreads, Shape::kSharedBytes);
}

int count_wide_clusters(int d_head, int cluster) {
  switch (d_head) {
    case 64:
      return count_wide_clusters<64>(cluster);
    case 96:
      return count_wide_clusters<96>(cluster);
    case 128:
      return count_wide_clusters<128>(cluster);
    default:
      return 0;
  }
}

}  // namespace

bool DecodeDivider::fits(int d_head, int cluster, int n_clusters) {
  const auto [found, first] = n_active_.try_emplace({d_head, cluster});
  if (first) found->second = count_wide_clusters(d_head, cluster);
  return n_clusters <= found->second;
}

int64_t decode_length_class(int64_t n_keys) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(n_keys, kDecodeNarrowKeys))));
}

DecodeDivision DecodeDivider::narrow(int n_groups, int max_cluster) const {
  const int most = std::clamp(kBlocksPerSm * n_multiprocessors_ / n_groups, 1, kDecodeMaxSplits);
  int cluster = 1;
  if (has_clusters_)
    while (cluster * 2 <= std::min(most, max_cluster)) cluster *= 2;
  return {most / cluster * cluster, cluster, false};
}

std::optional<DecodeDivision> DecodeDivider::wide_pairs(int n_groups, int d_head) {
  if (!has_clusters_ || !has_wide_blocks(d_head)) return std::nullopt;
  int n_clusters = 0;  // of a group
  while ((n_clusters + 1) * kDecodePair <= kDecodeMaxSplits &&
         fits(d_head, kDecodePair, (n_clusters + 1) * n_groups))
    ++n_clusters;
  if (n_clusters == 0) return std::nullopt;
  return DecodeDivision{n_clusters * kDecodePair, kDecodePair, true};
}

std::optional<DecodeDivision> DecodeDivider::wide(int n_groups, int d_head) {
  if (!has_clusters_ || !has_wide_blocks(d_head)) return std::nullopt;
  for (int cluster = kDecodeWideCluster; cluster > 1; --cluster) {
    if (!fits(d_head, cluster, n_groups)) continue;
    int n_clusters = 1;  // of a group
    while ((n_clusters + 1) * cluster <= kDecodeMaxSplits &&
           fits(d_head, cluster, (n_clusters + 1) * n_groups))
      ++n_clusters;
    return DecodeDivision{n_clusters * cluster, cluster, true};
  }
  return std::nullopt;
}

// The rates and times are those of an H200. They need not be exact, because they only decide between
// divisions.
DecodeDivision DecodeDivider::divide(int n_sequences, int n_heads, int n_kv_heads, int d_head,
                                     int64_t longest) {
  constexpr double kMemoryRate = 4.3e6, kWideBlockRate = 41e3;  // bytes in a microsecond
  constexpr double kCombineTime = 7.5;                          // microseconds, through global memory
  const int n_groups = n_sequences * head_groups(n_heads, n_kv_heads);
  if (longest <= kDecodeNarrowKeys) return narrow(n_groups, kDecodeNarrowCluster);
  const double bytes = static_cast<double>(n_groups) * static_cast<double>(longest) * d_head * 4.0;
  const auto time = [&](const DecodeDivision& d) {
    const double rate = d.wide ? std::min(kMemoryRate, n_groups * d.n_splits * kWideBlockRate) : kMemoryRate;
    return bytes / rate + (d.n_splits > d.cluster ? kCombineTime : 0.0);
  };
  // Of two divisions with equal estimates the later one is taken: wide pairs were 1 to 7% faster than narrow
  // ones.
  DecodeDivision best = narrow(n_groups, kDecodePair);
  for (const std::optional<DecodeDivision>& other : {wide_pairs(n_groups, d_head), wide(n_groups, d_head)})
    if (other && time(*other) <= time(best)) best = *other;
  return best;
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
