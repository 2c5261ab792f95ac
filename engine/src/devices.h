// Opens the device that the options name, as a backend.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/src/activations.h"
#include "kernels/backend.h"
#include "kernels/comm/communicator.h"

namespace seer {

// Opens "cpu", "cuda", "cuda:N" or "auto". "auto" is cuda:0 if it can be used; otherwise it is the CPU, and
// `warn` gets a sentence with the reason. Throws Error{kUsage} for another name, and Error{kDevice} if a GPU
// that was named cannot be used. The caller refuses activations that the device does not have
// (check_activations).
std::unique_ptr<Backend> open_device(const std::string& device, int threads, Activations activations,
                                     const std::function<void(const std::string&)>& warn);
// Opens the device of a rank other than 0. `device` is a name that rank 0 has already used. "cuda" gives the
// ranks of a machine its GPUs in turn, and "cuda:N" gives all of them GPU N.
std::unique_ptr<Backend> open_rank_device(const std::string& device, int threads, Activations activations,
                                          const Communicator& comm);
// Returns a communicator by which GPUs exchange tensors through NCCL, or null if `backend` is the CPU, whose
// ranks use `comm` itself. Every rank must call this.
std::unique_ptr<Communicator> connect_devices(Communicator* comm, Backend* backend);

}  // namespace seer
