// Memory of this GPU that other ranks' processes on this host read and write, and theirs.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>

#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/peer/params.h"
#include "kernels/tensor.h"

namespace seer::cuda {

// Every rank makes one of the same size, then opens the others' handles. The ranks part in two steps: all
// close(), and once they have, each may be destroyed.
class PeerMemory {
 public:
  using Handle = cudaIpcMemHandle_t;

  // Of the current device. Throws Error{kMemory}.
  explicit PeerMemory(int64_t bytes);
  ~PeerMemory() { close(); }
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  // False where this memory cannot leave the process.
  bool get_handle(Handle* handle) const;
  // `handles`: one of each rank. False where another's memory is out of reach.
  bool open(std::span<const Handle> handles, int rank);
  void close();

  void* data() const { return memory_.as<char>() + kControlBytes; }

  // x += the sum of the ranks' `share`: both of this memory, and at the same place on all ranks.
  cudaError_t add_sum(const Tensor& x, const Tensor& share, cudaStream_t stream) const;
  // The same for sums of more than kMaxAtOnce elements, where copy engines carry the shares, to `inbox`, as
  // large as share: multiprocessors are left to other streams meanwhile.
  cudaError_t add_sum(const Tensor& x, const Tensor& share, const Tensor& inbox, cudaStream_t stream) const;
  // out, of any memory: the ranks' `share`, of this memory, one behind the other.
  cudaError_t gather(const Tensor& out, const Tensor& share, cudaStream_t stream) const;
  // Kernels that wait for other ranks end. From any thread.
  void stop();

 private:
  static constexpr int64_t kFlagBytes = int64_t{4} * kMaxPeerBlocks * kMaxPeers;
  static constexpr int64_t kControlBytes = kFlagBytes + int64_t{4} * kMaxPeerBlocks;
  template <class T>
  T* of_peer(int peer, const void* mine) const;
  PeerMeeting meeting() const;
  PeerSumParams params(const Tensor& x, const Tensor& share) const;

  DeviceMemory memory_;
  PinnedMemory stop_;
  int rank_ = 0, n_ranks_ = 0;
  void* peers_[kMaxPeers] = {};  // memory_ of each
};

}  // namespace seer::cuda
