#include <cstdlib>
#include <string_view>

#include "kernels/cpu/simd/simd.h"

namespace seer::simd {

const Functions& functions() {
#if defined(__x86_64__)
  const char* forced = std::getenv("SEER_SIMD");
  const std::string_view limit = forced == nullptr ? "avx512bf16" : forced;
  // avx2.cc is compiled for F16C too. Every line of processors had F16C before AVX2, so it is not tested.
  // clang 14 has no test for it.
  const bool has_avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") != 0 &&
                          __builtin_cpu_supports("avx512bw") != 0 &&
                          __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
  const bool has_bf16 = has_avx512 && __builtin_cpu_supports("avx512bf16") != 0 &&
                        __builtin_cpu_supports("avx512vnni") != 0 &&
                        __builtin_cpu_supports("avx512vbmi") != 0;
  if (has_bf16 && limit != "avx512" && limit != "avx2" && limit != "baseline") return avx512bf16::kFunctions;
  if (has_avx512 && limit != "avx2" && limit != "baseline") return avx512::kFunctions;
  if (has_avx2 && limit != "baseline") return avx2::kFunctions;
#endif
  return baseline::kFunctions;
}

}  // namespace seer::simd
