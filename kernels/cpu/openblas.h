// OpenBLAS, made ready for callers that divide the work themselves.
#pragma once

#include <string>

namespace seer {

// Lets `n_threads` threads call OpenBLAS at the same time, for as long as it lives; each call computes on the
// thread that makes it. Any thread may make one.
//
// The first of a process picks the kernels for the processor at hand. OpenBLAS picks by the processor's model
// number; a release older than the processor falls back to SSE3 (0.3.21 of Debian 12 on Emerald Rapids: 30
// GFLOP/s a core instead of 120). Where its choice is below what the processor can run, it is asked to choose
// again with OPENBLAS_CORETYPE set, which a user's own setting overrules. Make the first one before other
// threads of the process use OpenBLAS.
//
// A thread in OpenBLAS needs a buffer of 128 MiB, most of which it never touches, and asks for it again and
// again for ever if the system refuses. So if the process may have so much address space only (ulimit -v, or
// a system that does not overcommit), the buffers are taken here. Throws Error{kMemory} if there is no room
// for them.
class OpenblasCallers {
 public:
  explicit OpenblasCallers(int n_threads);
  ~OpenblasCallers();
  OpenblasCallers(const OpenblasCallers&) = delete;
  OpenblasCallers& operator=(const OpenblasCallers&) = delete;

 private:
  int n_threads_;
};

// The kernels in use, as OpenBLAS names them: "SkylakeX".
std::string openblas_kernels();

}  // namespace seer
