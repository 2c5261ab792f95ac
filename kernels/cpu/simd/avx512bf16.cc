// Compiled for processors with AVX512-BF16, AVX512-VNNI and AVX512-VBMI: see kernels/CMakeLists.txt.
#define SEER_SIMD_NAMESPACE avx512bf16
#define SEER_SIMD_LABEL "AVX512-BF16"
#include "kernels/cpu/simd/kernels.h"
