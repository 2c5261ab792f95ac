// Compiled for processors with AVX2: see kernels/CMakeLists.txt.
#define SEER_SIMD_NAMESPACE avx2
#define SEER_SIMD_LABEL "AVX2"
#include "kernels/cpu/simd/kernels.h"
