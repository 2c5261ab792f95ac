// Sums over ranks whose GPUs reach one another's memory. See DESIGN.md beside this file.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace seer::cuda {

inline constexpr int kMaxPeers = 8;         // GPUs of one host
inline constexpr int kMaxPeerBlocks = 512;  // of a launch

// Where blocks of one number meet over all ranks. Zeros before the first launch. Every rank makes the same
// launches in the same order.
struct PeerMeeting {
  uint32_t* flags[kMaxPeers];  // [kMaxPeerBlocks, kMaxPeers] of each rank: the last meeting that peer came to
  uint32_t* epochs;            // [kMaxPeerBlocks] of this rank: meetings so far
  const uint32_t* stop;        // host memory: not 0 once a rank is gone; results are then worthless
  int rank, n_ranks;
};

struct PeerSumParams {
  PeerMeeting meeting;
  void* x[kMaxPeers];             // bf16 [n] of each rank, all alike: x += sum of shares
  const float* share[kMaxPeers];  // [n] of each rank; by parts, only this rank's part is read
  int64_t n;                      // a multiple of 8

  // The part of [0, n) that rank r sums.
  int64_t part_begin(int r) const { return n / 4 * r / meeting.n_ranks * 4; }
};

// Every rank reads all shares. They may still be read where the launch has ended on this rank; no longer
// where the next launch has. n at most kMaxAtOnce.
inline constexpr int64_t kMaxAtOnce = 1 << 18;
cudaError_t launch_peer_sum_at_once(const PeerSumParams& params, cudaStream_t stream);
// Every rank sums its part of x and hands it to the others. Any n.
cudaError_t launch_peer_sum_by_parts(const PeerSumParams& params, cudaStream_t stream);

struct PeerGatherParams {
  PeerMeeting meeting;
  float* out;                     // [n_ranks, n], of this rank
  const float* share[kMaxPeers];  // [n] of each rank
  int64_t n;
};

cudaError_t launch_peer_gather(const PeerGatherParams& params, cudaStream_t stream);

}  // namespace seer::cuda
