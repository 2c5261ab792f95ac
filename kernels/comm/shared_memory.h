// Ranks on one machine that exchange data through memory which all of them map. They are processes that one
// of them started, or threads in tests. Tensors are float32 on the host (the CPU backend's).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "kernels/comm/communicator.h"

namespace seer {

// The memory itself. One rank makes it, and every rank maps it.
class SharedRegion {
 public:
  // Makes anonymous memory with a file descriptor, for `n_ranks` ranks. Throws Error{kMemory}.
  static std::shared_ptr<SharedRegion> create(int n_ranks);
  // Maps memory that another process created, and takes ownership of the descriptor. Throws Error{kDevice}.
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

// Returns an empty text if the other ranks still live, as far as this one can see, and otherwise what
// happened.
using PeerCheck = std::function<std::string()>;

std::unique_ptr<Communicator> make_shared_memory_communicator(std::shared_ptr<SharedRegion> region, int rank,
                                                              PeerCheck peer_check = {});

}  // namespace seer
