#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/peer/meet.cuh"
#include "kernels/cuda/ptx/pdl.cuh"

namespace seer::cuda {
namespace {

constexpr int kThreads = 128;

// The ranks meet again at the end, so that each may write its share as soon as its launch is over.
__global__ void __launch_bounds__(kThreads) peer_gather_kernel(const PeerGatherParams p) {
  ptx::let_next_kernel_start();
  ptx::wait_for_previous_kernel();
  const PeerMeeting& m = p.meeting;
  const uint32_t epoch = m.epochs[blockIdx.x];
  meet(m, epoch + 1);
  const int64_t n = p.n * m.n_ranks, step = static_cast<int64_t>(gridDim.x) * kThreads;
#pragma unroll 4
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    const int64_t rank = i / p.n;
    p.out[i] = ptx::load_relaxed_system(p.share[rank] + (i - rank * p.n));
  }
  meet(m, epoch + 2);
  if (threadIdx.x == 0) m.epochs[blockIdx.x] = epoch + 2;
}

}  // namespace

cudaError_t launch_peer_gather(const PeerGatherParams& params, cudaStream_t stream) {
  const int64_t n = params.n * params.meeting.n_ranks;
  const auto blocks = static_cast<unsigned>(std::min<int64_t>(kMaxPeerBlocks, (n + kThreads - 1) / kThreads));
  if (const cudaError_t error = prefer_shared_memory(peer_gather_kernel); error != cudaSuccess) return error;
  return launch(peer_gather_kernel, dim3(blocks), kThreads, 0, stream, params);
}

}  // namespace seer::cuda
