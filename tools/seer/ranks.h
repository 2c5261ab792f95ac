// This process among others that compute one model: started by mpirun, by --tp or --cp, or alone.
#pragma once

#include <cstdint>
#include <memory>

#include "seer/ranks.h"

namespace seer::cli {

// Null where this process was started alone. Joined by the first call, which main() makes.
const std::shared_ptr<Ranks>& launched_ranks();
// Before the process ends: rank 0 lets the others go.
void leave_ranks();
// What a process other than rank 0 does, whatever its command line says: rank 0 has read it. An ExitCode.
int run_follower(Ranks& ranks);

// The ranks that an engine gets: mpirun's, or `tp` or `cp` of this machine, which are started; null for one.
// Throws Error{kUsage} where both are asked for, or where it is not what mpirun started.
std::shared_ptr<Ranks> ranks_for(int64_t tp, int64_t cp);
// Of `cores`, what a rank may use for itself.
int64_t cores_of_rank(int64_t cores, int64_t n_ranks);

}  // namespace seer::cli
