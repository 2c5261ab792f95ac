// Compiled for the plainest processor of this architecture: see kernels/CMakeLists.txt.
#define SEER_SIMD_NAMESPACE baseline
#define SEER_SIMD_LABEL "baseline"
#include "kernels/cpu/simd/kernels.h"
