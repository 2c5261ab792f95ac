// Ranks as processes that mpirun started, on one host or many. Tensors are float32 on the host (the CPU
// backend's); for GPUs this communicator starts NCCL's.
#pragma once

#include <memory>

#include "kernels/comm/communicator.h"

namespace seer {

// Whether this process is one of several that an MPI launcher started.
bool started_by_mpi();
// Joins them; once a process. Throws Error{kUnsupported} in a build without MPI, {kDevice} where MPI fails.
std::unique_ptr<Communicator> make_mpi_communicator();

}  // namespace seer
