// OpenBLAS, made ready for callers that divide the work themselves.
#pragma once

#include <string>

namespace seer {

// Once per process: one thread a call, and kernels for the processor at hand. OpenBLAS picks its kernels by
// the processor's model number; a release older than the processor falls back to SSE3 (0.3.21 of Debian 12 on
// Emerald Rapids: 30 GFLOP/s a core instead of 120). Where its choice is below what the processor can run, it
// is asked to choose again with OPENBLAS_CORETYPE set, which a user's own setting overrules. Call it before
// other threads of the process use OpenBLAS.
void prepare_openblas();

// The kernels in use, as OpenBLAS names them: "SkylakeX".
std::string openblas_kernels();

}  // namespace seer
