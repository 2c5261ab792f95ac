// Ranks with a GPU each: tensors by NCCL on the backend's stream, bytes by the communicator that brought the
// ranks together.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"

namespace seer {

// Every rank, together. `host` and `backend` outlive it; the backend's waits look after the ranks from here
// on. Throws Error{kUnsupported} in a build without NCCL or where its library is not found, {kDevice} where
// it fails.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator* host, Backend* backend);

}  // namespace seer
