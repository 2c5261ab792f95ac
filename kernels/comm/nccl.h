// Ranks with a GPU each. Tensors go through NCCL on the backend's stream, and bytes through the communicator
// that brought the ranks together.
#pragma once

#include <memory>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"

namespace seer {

// Must be called by every rank at the same time. `host` and `backend` must outlive the result. From this call
// on, the backend checks that the other ranks are alive while it waits for the device. Throws
// Error{kUnsupported} in a build without NCCL or if its library is not found, and Error{kDevice} if NCCL
// fails.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator* host, Backend* backend);

}  // namespace seer
