#include "kernels/cpu/openblas.h"

#include <cblas.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string_view>
#include <vector>

#include "seer/error.h"

extern "C" {
// Exported by every OpenBLAS that was built to choose its kernels at run time (DYNAMIC_ARCH), as
// distributions do.
void gotoblas_dynamic_init() __attribute__((weak));
void gotoblas_dynamic_quit() __attribute__((weak));
// Exported by every OpenBLAS that has threads of its own, which start again if they are needed.
int blas_thread_shutdown_() __attribute__((weak));
// The buffer of a call that computes. OpenBLAS keeps those that were given back, for later calls.
void* blas_memory_alloc(int position) __attribute__((weak));
void blas_memory_free(void* buffer) __attribute__((weak));
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

constexpr size_t kBufferBytes = (size_t{128} << 20) + (size_t{1} << 20);  // of a thread, and some room

bool address_space_is_limited() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) return true;
  int overcommit = 0;
  std::ifstream("/proc/sys/vm/overcommit_memory") >> overcommit;
  return overcommit == 2;
}

// How many buffers could be taken now, of n.
int room_for_buffers(int n) {
  std::vector<void*> taken;
  while (static_cast<int>(taken.size()) < n) {
    void* memory = ::mmap(nullptr, kBufferBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) break;
    taken.push_back(memory);
  }
  for (void* memory : taken) ::munmap(memory, kBufferBytes);
  return static_cast<int>(taken.size());
}

struct Openblas {
  std::mutex mutex;
  bool prepared = false;
  int n_callers = 0;  // threads that may be in OpenBLAS at once
  int n_buffers = 0;  // that were taken for them
};

Openblas& openblas() {
  static Openblas instance;
  return instance;
}

// Its own threads, which start with the process, want a buffer each. Those that got none ask for it for ever,
// and whoever ends them, as the end of the process does, waits for them.
void check_room(int n_buffers, int n_own) {
  const int found = room_for_buffers(n_buffers + n_own);
  if (found == n_buffers + n_own) return;
  throw Error(ErrorKind::kMemory,
              "expected 128 MiB of address space for each of " + std::to_string(n_buffers + n_own) +
                  " threads in OpenBLAS, found room for " + std::to_string(found) + ". Use fewer --threads" +
                  (n_own > 0 ? ", set OPENBLAS_NUM_THREADS=1 before the program starts," : "") +
                  " or raise the limit on address space (ulimit -v).");
}

void take_buffers(int n) {
  std::vector<void*> buffers(static_cast<size_t>(n));
  for (void*& buffer : buffers) buffer = blas_memory_alloc(0);
  for (void* buffer : buffers) blas_memory_free(buffer);
}

void prepare() {
  choose_kernels();
  openblas_set_num_threads(1);
  // Its own threads, one for each core, take turns for some 20 ms after their start before they sleep. They
  // took 100 ms of CPU time where there were 64 of them, which a container's quota would have charged.
  if (blas_thread_shutdown_ != nullptr) blas_thread_shutdown_();
}

}  // namespace

OpenblasCallers::OpenblasCallers(int n_threads) : n_threads_(n_threads) {
  Openblas& state = openblas();
  const std::lock_guard lock(state.mutex);
  const int n = state.n_callers + n_threads;
  const bool limited =
      address_space_is_limited() && blas_memory_alloc != nullptr && blas_memory_free != nullptr;
  if (limited && (n > state.n_buffers || !state.prepared))
    check_room(std::max(0, n - state.n_buffers), state.prepared ? 0 : openblas_get_num_threads() - 1);
  if (!state.prepared) prepare();
  state.prepared = true;
  if (limited && n > state.n_buffers) {
    take_buffers(n);
    state.n_buffers = n;
  }
  state.n_callers = n;
}

OpenblasCallers::~OpenblasCallers() {
  const std::lock_guard lock(openblas().mutex);
  openblas().n_callers -= n_threads_;
}

std::string openblas_kernels() { return openblas_get_corename(); }

}  // namespace seer
