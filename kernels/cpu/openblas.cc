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
// These are exported by every OpenBLAS that was built to choose its kernels at run time (DYNAMIC_ARCH), as
// distributions build it.
void gotoblas_dynamic_init() __attribute__((weak));
void gotoblas_dynamic_quit() __attribute__((weak));
// This is exported by every OpenBLAS that has threads of its own. They start again when they are needed.
int blas_thread_shutdown_() __attribute__((weak));
// These take and return the buffer of a computing call. OpenBLAS keeps returned buffers for later calls.
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

constexpr size_t kBufferBytes = (size_t{128} << 20) + (size_t{1} << 20);  // of a thread, with some room

bool address_space_is_limited() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) return true;
  int overcommit = 0;
  std::ifstream("/proc/sys/vm/overcommit_memory") >> overcommit;
  return overcommit == 2;
}

// Returns how many buffers, up to n, could be taken now.
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
  int n_buffers = 0;  // taken for these threads
};

Openblas& openblas() {
  static Openblas instance;
  return instance;
}

// Throws if there is no room for n_buffers and for OpenBLAS's n_own threads. OpenBLAS's own threads start
// with the process, and each of them asks for a buffer until it gets one. Without room, ending these threads
// would wait for ever; this happens at the latest when the process ends.
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
  // Ends OpenBLAS's own threads, one for each core. After their start they would spin for some 20 ms before
  // they sleep. With 64 of them this took 100 ms of CPU time, which a container's quota would have charged.
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
