// Starts the program again if the process may use a limited address space only, as `ulimit -v` sets it.
#pragma once

namespace seer::cli {

// Call this before anything else. It returns if there is nothing to do or the system refuses.
// OpenBLAS starts a thread for each core before main() runs, and each thread wants 128 MiB of address space.
// A thread that gets none asks for it for ever, and the process cannot end, because its end waits for that
// thread. Seer computes on threads of its own and needs none of OpenBLAS's. So if the address space is
// limited, this function starts the program again, as the same process, with OPENBLAS_NUM_THREADS=1.
void restart_without_openblas_threads(char** argv);

}  // namespace seer::cli
