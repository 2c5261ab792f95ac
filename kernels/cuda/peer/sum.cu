#include <cassert>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/peer/meet.cuh"
#include "kernels/cuda/ptx/pdl.cuh"
#include "kernels/cuda/vector.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 128;  // threads of a block that reads all summands; few, since one row has only 4096
                               // elements
constexpr int kPartThreads = 512;  // threads of a block that sums a part
constexpr int kPartBlocks = 128;   // the same on every rank, whatever its GPU
constexpr int kUnroll = 8;         // 16-byte loads that a thread has in flight

__device__ float4& operator+=(float4& a, const float4& b) {
  a.x += b.x, a.y += b.y, a.z += b.z, a.w += b.w;
  return a;
}
__device__ uint2 add_to_bf16(const uint2& x, const float4& sum) {
  const auto* pair = reinterpret_cast<const __nv_bfloat162*>(&x);
  const float2 low = __bfloat1622float2(pair[0]), high = __bfloat1622float2(pair[1]);
  __nv_bfloat162 out[2] = {__floats2bfloat162_rn(low.x + sum.x, low.y + sum.y),
                           __floats2bfloat162_rn(high.x + sum.z, high.y + sum.w)};
  return *reinterpret_cast<uint2*>(out);
}

// Each thread takes four elements, so that a warp's loads and stores are contiguous, and whole sectors go
// over a link.
__global__ void __launch_bounds__(kThreads) peer_sum_at_once_kernel(const PeerSumParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const uint32_t epoch = p.meeting.epochs[blockIdx.x] + 1;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const bool mine = i < p.n / 4;
  auto* x = static_cast<uint2*>(p.x[p.meeting.rank]) + i;
  const uint2 before = mine ? *x : uint2{};
  meet(p.meeting, epoch);
  if (threadIdx.x == 0) p.meeting.epochs[blockIdx.x] = epoch;
  if (!mine) return;
  float4 sum = {};
#pragma unroll 1
  for (int r = 0; r < p.meeting.n_ranks; r += 2) {  // two loads in flight; every rank adds in the order of
                                                    // ranks
    const float4 a = ptx::load_relaxed_system(reinterpret_cast<const float4*>(p.summand[r]) + i);
    float4 b = {};
    if (r + 1 < p.meeting.n_ranks)
      b = ptx::load_relaxed_system(reinterpret_cast<const float4*>(p.summand[r + 1]) + i);
    sum += a;
    sum += b;
  }
  *x = add_to_bf16(before, sum);
}

__global__ void __launch_bounds__(kPartThreads) peer_sum_by_parts_kernel(const PeerSumParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const PeerMeeting& m = p.meeting;
  const uint32_t epoch = m.epochs[blockIdx.x];
  meet(m, epoch + 1);
  const int64_t units = p.n / 4, begin = units * m.rank / m.n_ranks, end = units * (m.rank + 1) / m.n_ranks;
  const int64_t step = static_cast<int64_t>(gridDim.x) * kPartThreads;
  for (int64_t first = begin + static_cast<int64_t>(blockIdx.x) * kPartThreads + threadIdx.x; first < end;
       first += step * kUnroll) {
    float4 sum[kUnroll] = {};
#pragma unroll 1
    for (int r = 0; r < m.n_ranks; ++r) {
      float4 summand[kUnroll];
#pragma unroll
      for (int k = 0; k < kUnroll; ++k) {
        const int64_t unit = first + k * step;
        summand[k] = unit < end
                         ? ptx::load_relaxed_system(reinterpret_cast<const float4*>(p.summand[r]) + unit)
                         : float4{};
      }
#pragma unroll
      for (int k = 0; k < kUnroll; ++k) sum[k] += summand[k];
    }
#pragma unroll
    for (int k = 0; k < kUnroll; ++k) {
      const int64_t unit = first + k * step;
      if (unit >= end) break;
      const uint2 out = add_to_bf16(static_cast<const uint2*>(p.x[m.rank])[unit], sum[k]);
      for (int r = 0; r < m.n_ranks; ++r) static_cast<uint2*>(p.x[r])[unit] = out;
    }
  }
  meet(m, epoch + 2);
  if (threadIdx.x == 0) m.epochs[blockIdx.x] = epoch + 2;
}

}  // namespace

cudaError_t launch_peer_sum_at_once(const PeerSumParams& params, cudaStream_t stream) {
  static_assert(kMaxAtOnce / 4 / kThreads <= kMaxPeerBlocks);
  assert(params.n % 8 == 0 && params.n <= kMaxAtOnce && params.meeting.n_ranks <= kMaxPeers);
  const auto blocks = static_cast<unsigned>((params.n / 4 + kThreads - 1) / kThreads);
  if (const cudaError_t error = prefer_shared_memory(peer_sum_at_once_kernel); error != cudaSuccess)
    return error;
  return launch(peer_sum_at_once_kernel, dim3(blocks), kThreads, 0, stream, params);
}

cudaError_t launch_peer_sum_by_parts(const PeerSumParams& params, cudaStream_t stream) {
  assert(params.n % 8 == 0 && params.meeting.n_ranks <= kMaxPeers);
  return launch(peer_sum_by_parts_kernel, dim3(kPartBlocks), kPartThreads, 0, stream, params);
}

}  // namespace seer::cuda
