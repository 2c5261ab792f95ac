// Compiled for processors with AVX-512: see kernels/CMakeLists.txt.
#define SEER_SIMD_NAMESPACE avx512
#define SEER_SIMD_LABEL "AVX-512"
#include "kernels/cpu/simd/kernels.h"
