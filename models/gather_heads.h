// Brings the heads of all ranks together on rank 0, for a report.
#pragma once

#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"

namespace seer {

// Reads a tensor whose first axis is the heads of this rank. If there are several ranks, all of them must
// call this: rank 0 gets the heads of all ranks, and the others get nothing. Each rank has consecutive heads,
// so the heads of one rank after another are all heads in order. `comm` is null if each rank has all heads.
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
