// The ranks of this process: those that mpirun started it with, those that --tp or --cp asks for, or none.
#pragma once

#include <cstdint>
#include <memory>

#include "seer/ranks.h"

namespace seer::cli {

// Joins the ranks with which mpirun started this process, if it did. main() calls it first. Throws what
// Ranks::join() throws.
void join_launched_ranks();
// Returns the ranks that join_launched_ranks() joined, or null if the process was started alone.
const std::shared_ptr<Ranks>& launched_ranks();
// Ends the other ranks' wait for work. Rank 0 calls it before the process ends.
void leave_ranks();
// Does the work of a rank other than 0 until rank 0 ends, and returns an ExitCode. Such a rank ignores its
// own command line; rank 0 has read the same one.
int run_follower(Ranks& ranks);

// Returns the ranks for an engine: those of mpirun, or `tp` or `cp` new ones on this machine, or null for a
// single rank. Throws Error{kUsage} if both tp and cp are asked for, or if they contradict mpirun.
std::shared_ptr<Ranks> ranks_for(int64_t tp, int64_t cp);
// Returns how many of this machine's cores one of n_ranks may use.
int64_t cores_of_rank(int64_t cores, int64_t n_ranks);

}  // namespace seer::cli
