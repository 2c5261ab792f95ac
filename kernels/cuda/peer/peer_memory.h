// Memory of this GPU that other ranks' processes on this host read and write, and their memory as this
// process sees it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>

#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/peer/params.h"
#include "kernels/tensor.h"

namespace seer::cuda {

// Every rank makes one of the same size, then opens the others' handles. At the end all ranks must call
// close() before any of them destroys its own.
class PeerMemory {
 public:
  using Handle = cudaIpcMemHandle_t;

  // Allocates memory of the current device. Throws Error{kMemory}.
  explicit PeerMemory(int64_t bytes);
  ~PeerMemory() { close(); }
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;

  // Returns false if other processes cannot use this memory.
  bool get_handle(Handle* handle) const;
  // `handles` has one of each rank. Returns false if another rank's memory cannot be reached.
  bool open(std::span<const Handle> handles, int rank);
  void close();

  void* data() const { return memory_.as<char>() + kControlBytes; }

  // x += the sum of the ranks' `summand`. Both must lie in this memory, at the same place on all ranks.
  cudaError_t add_sum(const Tensor& x, const Tensor& summand, cudaStream_t stream) const;
  // The same for more than kMaxAtOnce elements. Copy engines bring the summands to `inbox`, which must be as
  // large as `summand`, so that multiprocessors are free for other streams meanwhile.
  cudaError_t add_sum(const Tensor& x, const Tensor& summand, const Tensor& inbox, cudaStream_t stream) const;
  // Writes the ranks' `share`, which must lie in this memory, one after the other to `out`, which may lie in
  // any memory.
  cudaError_t gather(const Tensor& out, const Tensor& share, cudaStream_t stream) const;
  // Ends kernels that wait for other ranks. Any thread.
  void stop();

 private:
  static constexpr int64_t kFlagBytes = int64_t{4} * kMaxPeerBlocks * kMaxPeers;
  static constexpr int64_t kControlBytes = kFlagBytes + int64_t{4} * kMaxPeerBlocks;
  template <class T>
  T* of_peer(int peer, const void* mine) const;
  PeerMeeting meeting() const;
  PeerSumParams params(const Tensor& x, const Tensor& summand) const;

  DeviceMemory memory_;
  PinnedMemory stop_;
  int rank_ = 0, n_ranks_ = 0;
  void* peers_[kMaxPeers] = {};  // memory_ of each
};

}  // namespace seer::cuda
