// The device that the options name, as a backend.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"

namespace seer {

// "auto" is cuda:0 if it can be used, else the CPU, with a sentence to `warn`; "cpu"; "cuda"; "cuda:N".
// Throws Error{kUsage} for another name, Error{kDevice} if a GPU that was asked for cannot be used.
std::unique_ptr<Backend> open_device(const std::string& device, int threads,
                                     const std::function<void(const std::string&)>& warn);
// The same for a rank other than 0, which gets a name that rank 0 could use: "cuda" gives the ranks of a
// machine its GPUs in turn, "cuda:N" all of them that one.
std::unique_ptr<Backend> open_rank_device(const std::string& device, int threads, const Communicator& comm);
// GPUs exchange tensors by NCCL; null if `backend` is the CPU, whose ranks use `comm` itself. On every rank.
std::unique_ptr<Communicator> connect_devices(Communicator* comm, Backend* backend);

}  // namespace seer
