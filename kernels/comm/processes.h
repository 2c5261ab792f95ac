// Ranks as processes that rank 0 starts on its own machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/comm/communicator.h"

namespace seer {

// Starts n - 1 processes of `command` (a program's path, then its arguments), which must call
// join_started_rank(). Their standard input and output are /dev/null. Destroying the communicator ends them,
// and kills those that do not end within seconds. Throws Error{kUsage} if n is out of range, or n > 1 and the
// command is empty, and Error{kDevice} if a process cannot be started.
std::unique_ptr<Communicator> start_ranks(int n, const std::vector<std::string>& command);

// Returns the communicator of a process that start_ranks() started, and null in any other process. Must be
// called only once.
std::unique_ptr<Communicator> join_started_rank();

}  // namespace seer
