// OpenBLAS, made ready for callers that divide the work themselves.
#pragma once

#include <string>

namespace seer {

// While such an object lives, `n_threads` threads may call OpenBLAS at the same time, and each call computes
// on the thread that makes it. It may be constructed on any thread, but the first one of a process before
// other threads use OpenBLAS.
//
// The first one makes sure that OpenBLAS uses kernels for this processor. OpenBLAS picks them by the
// processor's model number, and a release older than the processor falls back to SSE3 (0.3.21 of Debian 12 on
// Emerald Rapids: 30 GFLOP/s a core instead of 120). If the processor can run better kernels than OpenBLAS
// picked, it is asked to choose again with OPENBLAS_CORETYPE set, unless the user has set that variable.
//
// Throws Error{kMemory} if address space is limited (ulimit -v, or a system that does not overcommit) and has
// no room for OpenBLAS's buffers. Each thread in OpenBLAS needs one of 128 MiB, most of which it never
// touches, and if the system refuses it, the thread asks again for ever. So under such a limit the buffers
// are taken here.
class OpenblasCallers {
 public:
  explicit OpenblasCallers(int n_threads);
  ~OpenblasCallers();
  OpenblasCallers(const OpenblasCallers&) = delete;
  OpenblasCallers& operator=(const OpenblasCallers&) = delete;

 private:
  int n_threads_;
};

// Returns the kernels in use, as OpenBLAS names them: "SkylakeX".
std::string openblas_kernels();

}  // namespace seer
