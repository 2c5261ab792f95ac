#include "kernels/cpu/openblas.h"

#include <cblas.h>

#include <cstdlib>
#include <mutex>
#include <string_view>

extern "C" {
// Exported by every OpenBLAS that was built to choose its kernels at run time (DYNAMIC_ARCH), as
// distributions do.
void gotoblas_dynamic_init() __attribute__((weak));
void gotoblas_dynamic_quit() __attribute__((weak));
// Exported by every OpenBLAS that has threads of its own, which start again if they are needed.
int blas_thread_shutdown_() __attribute__((weak));
}

namespace seer {
namespace {

#if defined(__x86_64__)

enum Level { kSse, kAvx2, kAvx512 };

Level processor_level() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return kAvx512;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? kAvx2 : kSse;
}

Level kernel_level(std::string_view name) {
  // "Zen" is OpenBLAS's own choice for AMD processors, with and without AVX-512.
  for (const std::string_view wide : {"SkylakeX", "Cooperlake", "SapphireRapids", "Zen"})
    if (name == wide) return kAvx512;
  for (const std::string_view avx2 : {"Haswell", "Excavator"})
    if (name == avx2) return kAvx2;
  return kSse;
}

void choose_kernels() {
  constexpr const char* kVariable = "OPENBLAS_CORETYPE";
  const Level best = processor_level();
  if (std::getenv(kVariable) != nullptr || kernel_level(openblas_get_corename()) >= best) return;
  if (gotoblas_dynamic_init == nullptr || gotoblas_dynamic_quit == nullptr) return;
  setenv(kVariable, best == kAvx512 ? "SkylakeX" : "Haswell", 1);
  gotoblas_dynamic_quit();
  gotoblas_dynamic_init();
  unsetenv(kVariable);
}

#else

void choose_kernels() {}

#endif

}  // namespace

void prepare_openblas() {
  static std::once_flag once;
  std::call_once(once, [] {
    choose_kernels();
    openblas_set_num_threads(1);
    // Its own threads, one for each core, take turns for some 20 ms after their start before they sleep. They
    // took 100 ms of CPU time where there were 64 of them, which a container's quota would have charged.
    if (blas_thread_shutdown_ != nullptr) blas_thread_shutdown_();
  });
}

std::string openblas_kernels() { return openblas_get_corename(); }

}  // namespace seer
