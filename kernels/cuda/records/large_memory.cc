#include "kernels/cuda/records/large_memory.h"

#include <cuda_runtime.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <exception>
#include <memory>
#include <thread>

#include "kernels/cpu/thread_pool.h"
#include "kernels/cuda/check.h"

namespace seer::cuda {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kSmallPage = 4096;
constexpr size_t kShare = size_t{32} << 20;  // that a thread takes at a time
constexpr int kMostThreads = 16;

// Makes the system give the pages now. Returns 0 or an errno.
int populate(char* begin, size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(begin, bytes, MADV_POPULATE_WRITE) == 0) return 0;
  if (errno != EINVAL) return errno;  // a kernel before 5.14 does not know it
#endif
  for (size_t i = 0; i < bytes; i += kSmallPage) *static_cast<volatile char*>(begin + i) = 0;
  return 0;
}

int populate_on_threads(char* begin, size_t bytes) {
  const auto n_shares = static_cast<int64_t>((bytes + kShare - 1) / kShare);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  std::atomic<int> error{0};
  const auto take = [&](int64_t i, int) {
    const size_t first = static_cast<size_t>(i) * kShare;
    if (const int found = populate(begin + first, std::min(kShare, bytes - first))) error = found;
  };
  std::unique_ptr<ThreadPool> threads;
  try {
    threads = std::make_unique<ThreadPool>(std::clamp(cores, 1, kMostThreads));
  } catch (const std::exception&) {  // the system has no threads left: then this one does it alone
    threads = std::make_unique<ThreadPool>(1);
  }
  threads->run(n_shares, take);
  return error;
}

}  // namespace

LargePinnedMemory::Mapping::~Mapping() {
  if (begin != nullptr) (void)munmap(begin, bytes);
}

LargePinnedMemory::LargePinnedMemory(int64_t bytes, const std::string& purpose) {
  const size_t size = (static_cast<size_t>(bytes) + kHugePage - 1) / kHugePage * kHugePage;
  const auto refuse = [&](const char* remedy) {
    throw Error(ErrorKind::kMemory,
                "cannot lock " + std::to_string(size >> 20) + " MiB of host memory for " + purpose + remedy);
  };
  void* const mapped =
      mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) refuse(": the system has too little. Use less.");
  mapping_.begin = mapped;
  mapping_.bytes = size + kHugePage;
  const size_t offset = reinterpret_cast<uintptr_t>(mapped) % kHugePage;
  char* const begin = static_cast<char*>(mapped) + (offset == 0 ? 0 : kHugePage - offset);
  (void)madvise(begin, size, MADV_HUGEPAGE);  // without huge pages it only takes longer
  if (populate_on_threads(begin, size) != 0) refuse(": the system has too little. Use less.");
  const cudaError_t error = cudaHostRegister(begin, size, cudaHostRegisterPortable);
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();  // otherwise the next launch would report it again
    refuse(". Use less, or allow more locked memory (ulimit -l).");
  }
  check(error, "cudaHostRegister");
  data_ = begin;
}

LargePinnedMemory::~LargePinnedMemory() {
  if (data_ != nullptr) (void)cudaHostUnregister(data_);
}

}  // namespace seer::cuda
