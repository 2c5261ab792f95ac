#include "tools/seer/address_space.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

namespace seer::cli {

void restart_without_openblas_threads(char** argv) {
  constexpr const char* kVariable = "OPENBLAS_NUM_THREADS";
  rlimit limit = {};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  if (std::getenv(kVariable) != nullptr || ::setenv(kVariable, "1", 1) != 0) return;
  ::execv("/proc/self/exe", argv);
}

}  // namespace seer::cli
