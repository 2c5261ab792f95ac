// Ranks as processes that mpirun started, on one host or many. Tensors are float32 on the host (the CPU
// backend's). For GPUs, this communicator serves to start NCCL's.
#pragma once

#include <memory>

#include "kernels/comm/communicator.h"

namespace seer {

// Returns whether this process is one of several that an MPI launcher started.
bool started_by_mpi();
// Joins these processes. Must be called only once. Throws Error{kUnsupported} in a build without MPI, and
// Error{kDevice} if MPI fails.
std::unique_ptr<Communicator> make_mpi_communicator();

}  // namespace seer
