// What each rank has of some heads, brought together for a report.
#pragma once

#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"

namespace seer {

// Reads a tensor whose first axis are heads. If there are several ranks, rank 0 gets those of all ranks: each
// has some consecutive heads, so one rank after another they are all heads in order. The other ranks get
// nothing.
template <class T>
std::vector<T> gather_heads(Backend* backend, Communicator* comm, const Tensor& t) {
  std::vector<T> mine(static_cast<size_t>(t.numel()));
  backend->read(mine.data(), t);
  if (comm == nullptr || comm->size() == 1) return mine;
  std::vector<T> all(comm->rank() == 0 ? mine.size() * static_cast<size_t>(comm->size()) : 0);
  comm->gather_host(all.data(), mine.data(), t.nbytes());
  return all;
}

}  // namespace seer
