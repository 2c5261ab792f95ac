// Lets thread blocks of several GPUs wait for one another.
#pragma once

#include "kernels/cuda/peer/params.h"
#include "kernels/cuda/ptx/system.cuh"

namespace seer::cuda {

// Returns when the thread blocks of this number on all ranks have called it, or m.stop is set. Everything
// that each of them wrote before the call is visible to all of them after it.
__device__ inline void meet(const PeerMeeting& m, uint32_t epoch) {
  constexpr int kLookEvery = 4096;  // a read of host memory takes as long as a hundred reads of GPU memory
  __syncthreads();
  const int peer = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x) * kMaxPeers;
  if (peer < m.n_ranks) {
    ptx::store_release_system(m.flags[peer] + block + m.rank, epoch);
    const uint32_t* came = m.flags[m.rank] + block + peer;
    // The difference has a sign, because a peer may be one meeting ahead.
    for (int i = 1; static_cast<int32_t>(ptx::load_acquire_system(came) - epoch) < 0; ++i)
      if (i % kLookEvery == 0 && ptx::load_relaxed_system(m.stop) != 0) break;
  }
  __syncthreads();
}

}  // namespace seer::cuda
