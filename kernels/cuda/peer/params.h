// Sums over ranks whose GPUs reach one another's memory. See DESIGN.md in this folder.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace seer::cuda {

inline constexpr int kMaxPeers = 8;         // GPUs of one host
inline constexpr int kMaxPeerBlocks = 512;  // of a launch

// The memory by which thread blocks of the same number wait for one another over all ranks. flags and epochs
// must be zeros before the first launch. Every rank must make the same launches in the same order.
struct PeerMeeting {
  uint32_t*
      flags[kMaxPeers];  // [kMaxPeerBlocks, kMaxPeers] of each rank: the last meeting to which a peer came
  uint32_t* epochs;      // [kMaxPeerBlocks] of this rank: meetings so far
  const uint32_t* stop;  // host memory: not 0 if a rank is gone, and then results are worthless
  int rank, n_ranks;
};

struct PeerSumParams {
  PeerMeeting meeting;
  void* x[kMaxPeers];               // bf16 [n] of each rank, all alike: x += the sum of the summands
  const float* summand[kMaxPeers];  // [n] of each rank; a sum by parts reads only this rank's part
  int64_t n;                        // a multiple of 8

  // Returns the beginning of the part of [0, n) that rank r sums.
  int64_t part_begin(int r) const { return n / 4 * r / meeting.n_ranks * 4; }
};

// Every rank reads all summands. n must be at most kMaxAtOnce. When this launch has ended on this rank,
// others may still read its summand; when the next launch has ended, they do not any more.
inline constexpr int64_t kMaxAtOnce = 1 << 18;
cudaError_t launch_peer_sum_at_once(const PeerSumParams& params, cudaStream_t stream);
// Every rank sums its part of x and writes it to the others. Any n.
cudaError_t launch_peer_sum_by_parts(const PeerSumParams& params, cudaStream_t stream);

struct PeerGatherParams {
  PeerMeeting meeting;
  float* out;                     // [n_ranks, n], of this rank
  const float* share[kMaxPeers];  // [n] of each rank
  int64_t n;
};

cudaError_t launch_peer_gather(const PeerGatherParams& params, cudaStream_t stream);

}  // namespace seer::cuda
