// Where thread blocks of several GPUs wait for one another.
#pragma once

#include "kernels/cuda/peer/params.h"
#include "kernels/cuda/ptx/system.cuh"

namespace seer::cuda {

// Blocks of this number, on all ranks, have come here; what each wrote before is visible to all behind.
__device__ inline void meet(const PeerMeeting& m, uint32_t epoch) {
  constexpr int kLookEvery = 4096;  // a look at the host's memory takes as long as some hundred of one's own
  __syncthreads();
  const int peer = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x) * kMaxPeers;
  if (peer < m.n_ranks) {
    ptx::store_release_system(m.flags[peer] + block + m.rank, epoch);
    const uint32_t* came = m.flags[m.rank] + block + peer;
    // A peer may be one meeting ahead.
    for (int i = 1; static_cast<int32_t>(ptx::load_acquire_system(came) - epoch) < 0; ++i)
      if (i % kLookEvery == 0 && ptx::load_relaxed_system(m.stop) != 0) break;
  }
  __syncthreads();
}

}  // namespace seer::cuda
