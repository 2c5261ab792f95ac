// Ranks as processes that rank 0 starts on its own machine.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/comm/communicator.h"

namespace seer {

// Starts n - 1 processes of `command` (a program's path, then its arguments), which are to call
// join_started_rank(). Their standard input and output are /dev/null. The communicator ends them when it is
// destroyed: those that do not end by themselves within seconds are killed. Throws Error{kUsage} for a count
// out of range or, where n > 1, an empty command, {kDevice} where a process cannot be started.
std::unique_ptr<Communicator> start_ranks(int n, const std::vector<std::string>& command);

// The communicator of a process that start_ranks() started; null in any other. Once a process.
std::unique_ptr<Communicator> join_started_rank();

}  // namespace seer
