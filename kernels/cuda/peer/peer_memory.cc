#include "kernels/cuda/peer/peer_memory.h"

#include <atomic>
#include <cassert>

#include "kernels/cuda/check.h"

namespace seer::cuda {
PeerMemory::PeerMemory(int64_t bytes)
    : memory_(kControlBytes + bytes, "what ranks sum"), stop_(sizeof(uint32_t), "what ranks sum") {
  *static_cast<uint32_t*>(stop_.get()) = 0;
  check(cudaMemset(memory_.get(), 0, static_cast<size_t>(kControlBytes)), "cudaMemset");
  check(cudaDeviceSynchronize(), "cudaMemset");  // must be done before another rank's first flag arrives
}

bool PeerMemory::get_handle(Handle* handle) const {
  if (cudaIpcGetMemHandle(handle, memory_.get()) == cudaSuccess) return true;
  (void)cudaGetLastError();
  return false;
}

bool PeerMemory::open(std::span<const Handle> handles, int rank) {
  assert(handles.size() <= kMaxPeers);
  rank_ = rank;
  n_ranks_ = static_cast<int>(handles.size());
  for (int r = 0; r < n_ranks_; ++r) {
    if (r == rank) {
      peers_[r] = memory_.get();
      continue;
    }
    const cudaError_t error =
        cudaIpcOpenMemHandle(&peers_[r], handles[static_cast<size_t>(r)], cudaIpcMemLazyEnablePeerAccess);
    if (error == cudaSuccess) continue;
    (void)cudaGetLastError();
    peers_[r] = nullptr;
    close();
    return false;
  }
  return true;
}

void PeerMemory::close() {
  for (int r = 0; r < n_ranks_; ++r) {
    if (r != rank_ && peers_[r] != nullptr) (void)cudaIpcCloseMemHandle(peers_[r]);
    peers_[r] = nullptr;
  }
}

template <class T>
T* PeerMemory::of_peer(int peer, const void* mine) const {
  return reinterpret_cast<T*>(static_cast<char*>(peers_[peer]) +
                              (static_cast<const char*>(mine) - memory_.as<char>()));
}

PeerMeeting PeerMemory::meeting() const {
  PeerMeeting m = {};
  for (int r = 0; r < n_ranks_; ++r) m.flags[r] = of_peer<uint32_t>(r, memory_.get());
  m.epochs = reinterpret_cast<uint32_t*>(memory_.as<char>() + kFlagBytes);
  m.stop = static_cast<const uint32_t*>(stop_.get());
  m.rank = rank_;
  m.n_ranks = n_ranks_;
  return m;
}

PeerSumParams PeerMemory::params(const Tensor& x, const Tensor& summand) const {
  assert(x.dtype == DType::kBF16 && summand.dtype == DType::kF32 && x.numel() == summand.numel());
  PeerSumParams p = {};
  p.meeting = meeting();
  p.n = x.numel();
  for (int r = 0; r < n_ranks_; ++r) {
    p.x[r] = of_peer<void>(r, x.data);
    p.summand[r] = of_peer<const float>(r, summand.data);
  }
  return p;
}

cudaError_t PeerMemory::add_sum(const Tensor& x, const Tensor& summand, cudaStream_t stream) const {
  const PeerSumParams p = params(x, summand);
  return p.n * (n_ranks_ - 1) <= kMaxAtOnce ? launch_peer_sum_at_once(p, stream)
                                            : launch_peer_sum_by_parts(p, stream);
}

cudaError_t PeerMemory::add_sum(const Tensor& x, const Tensor& summand, const Tensor& inbox,
                                cudaStream_t stream) const {
  PeerSumParams p = params(x, summand);
  // Returns rank `from`'s slot in the inbox of rank `to`, which holds the other ranks' parts one after
  // another.
  const auto slot = [&](int to, int from) {
    const int64_t size = p.part_begin(to + 1) - p.part_begin(to);
    return of_peer<float>(to, inbox.data) + size * (from < to ? from : from - 1);
  };
  for (int i = 1; i < n_ranks_; ++i) {
    const int to = (rank_ + i) % n_ranks_;  // not all ranks begin with the same one
    const int64_t begin = p.part_begin(to), size = p.part_begin(to + 1) - begin;
    const cudaError_t error =
        cudaMemcpyAsync(slot(to, rank_), summand.as<float>() + begin,
                        static_cast<size_t>(size) * sizeof(float), cudaMemcpyDeviceToDevice, stream);
    if (error != cudaSuccess) return error;
    p.summand[to] = slot(rank_, to) - p.part_begin(rank_);  // only this rank's part of it is read
  }
  return launch_peer_sum_by_parts(p, stream);
}

cudaError_t PeerMemory::gather(const Tensor& out, const Tensor& share, cudaStream_t stream) const {
  assert(out.dtype == DType::kF32 && share.dtype == DType::kF32 && out.numel() == share.numel() * n_ranks_);
  PeerGatherParams p = {};
  p.meeting = meeting();
  p.out = out.as<float>();
  p.n = share.numel();
  for (int r = 0; r < n_ranks_; ++r) p.share[r] = of_peer<const float>(r, share.data);
  return launch_peer_gather(p, stream);
}

void PeerMemory::stop() {
  std::atomic_ref<uint32_t>(*static_cast<uint32_t*>(stop_.get())).store(1, std::memory_order_release);
}

}  // namespace seer::cuda
