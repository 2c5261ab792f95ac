// Reads what an MPI launcher tells the processes that it starts.
#pragma once

namespace seer {

// Returns how many processes the launcher started, this one included; 1 if no launcher started this process.
int launched_ranks();

}  // namespace seer
