// Ranks on one machine, by memory that all of them map: processes that one of them started, or, in tests,
// threads. Tensors are float32 on the host (the CPU backend's); bytes are bytes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "kernels/comm/communicator.h"

namespace seer {

// The memory itself. Mapped by every rank, made by one.
class SharedRegion {
 public:
  // Anonymous memory behind a file descriptor, for `n_ranks`. Throws Error{kMemory}.
  static std::shared_ptr<SharedRegion> create(int n_ranks);
  // Maps what another process created; takes the descriptor. Throws Error{kDevice}.
  static std::shared_ptr<SharedRegion> attach(int fd);
  ~SharedRegion();
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  struct Header;
  Header& header() const { return *static_cast<Header*>(data_); }
  int fd() const { return fd_; }
  int n_ranks() const;

 private:
  SharedRegion(int fd, void* data, size_t size) : fd_(fd), data_(data), size_(size) {}
  int fd_;
  void* data_;
  size_t size_;
};

// Looks whether the other ranks still live, as far as this one can see. Empty: yes; else what happened.
using PeerCheck = std::function<std::string()>;

std::unique_ptr<Communicator> make_shared_memory_communicator(std::shared_ptr<SharedRegion> region, int rank,
                                                              PeerCheck peer_check = {});

}  // namespace seer
