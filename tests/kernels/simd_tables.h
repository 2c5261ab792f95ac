// Returns every table of inner loops that this processor can run, so that a machine with AVX-512 also tests
// the others.
#pragma once

#include <vector>

#include "kernels/cpu/simd/simd.h"

namespace seer::testing {

inline std::vector<const simd::Functions*> runnable_tables() {
  std::vector<const simd::Functions*> tables = {&simd::baseline::kFunctions};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0)
    tables.push_back(&simd::avx2::kFunctions);
  if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0)
    tables.push_back(&simd::avx512::kFunctions);
  if (__builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_supports("avx512vnni") != 0 &&
      __builtin_cpu_supports("avx512vbmi") != 0)
    tables.push_back(&simd::avx512bf16::kFunctions);
#endif
  return tables;
}

}  // namespace seer::testing
