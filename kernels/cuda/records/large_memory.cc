#include "kernels/cuda/records/large_memory.h"

#include <cuda_runtime.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
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
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  ThreadPool threads(std::clamp(cores, 1, kMostThreads));
  std::atomic<int> error{0};
  threads.run(static_cast<int64_t>((bytes + kShare - 1) / kShare), [&](int64_t i, int) {
    const size_t first = static_cast<size_t>(i) * kShare;
    if (const int found = populate(begin + first, std::min(kShare, bytes - first))) error = found;
  });
  return error;
}

}  // namespace

LargePinnedMemory::LargePinnedMemory(int64_t bytes, const std::string& purpose) {
  const size_t size = (static_cast<size_t>(bytes) + kHugePage - 1) / kHugePage * kHugePage;
  const auto refuse = [&] {
    if (mapped_ != nullptr) (void)munmap(mapped_, mapped_bytes_);
    throw Error(ErrorKind::kMemory, "cannot lock " + std::to_string(size >> 20) + " MiB of host memory for " +
                                        purpose + ". Use less, or allow more locked memory (ulimit -l).");
  };
  mapped_bytes_ = size + kHugePage;
  void* const mapped =
      mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) refuse();
  mapped_ = mapped;
  const size_t offset = reinterpret_cast<uintptr_t>(mapped_) % kHugePage;
  char* const begin = static_cast<char*>(mapped_) + (offset == 0 ? 0 : kHugePage - offset);
  (void)madvise(begin, size, MADV_HUGEPAGE);  // without huge pages it only takes longer
  if (populate_on_threads(begin, size) != 0) refuse();
  if (cudaHostRegister(begin, size, cudaHostRegisterPortable) != cudaSuccess) {
    (void)cudaGetLastError();  // otherwise the next launch would report it again
    refuse();
  }
  data_ = begin;
}

LargePinnedMemory::~LargePinnedMemory() {
  (void)cudaHostUnregister(data_);
  (void)munmap(mapped_, mapped_bytes_);
}

}  // namespace seer::cuda
