// What an MPI launcher tells the processes it starts.
#pragma once

namespace seer {

// How many it started together with this one; 1 where there was none.
int launched_ranks();

}  // namespace seer
