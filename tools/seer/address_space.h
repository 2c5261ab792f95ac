// A process that may have so much address space only, as `ulimit -v` says.
#pragma once

namespace seer::cli {

// OpenBLAS starts a thread for each core before main() runs, and each wants 128 MiB of address space. Those
// that get none ask for it for ever, and the process cannot end, for its end waits for them. Seer computes on
// threads of its own and needs none of these, so where the address space is limited this starts the program
// again, as the same process, with OPENBLAS_NUM_THREADS=1. Returns if there is no need, or where the system
// refuses. Call it before anything else.
void restart_without_openblas_threads(char** argv);

}  // namespace seer::cli
