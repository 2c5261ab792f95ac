#include "kernels/cpu/memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "seer/error.h"

namespace seer {

std::shared_ptr<void> allocate_lazily(int64_t bytes, const std::string& purpose) {
  const auto size = static_cast<size_t>(bytes > 0 ? bytes : 1);
  // Without MAP_NORESERVE the kernel would refuse a KV pool larger than free memory, even one that is never
  // filled.
  void* data = bytes < 0 ? MAP_FAILED
                         : mmap(nullptr, size, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw Error(
        ErrorKind::kMemory,
        "cannot map " + std::to_string(bytes >> 20) + " MiB for " + purpose + ": " + std::strerror(errno) +
            ". Use a smaller --ctx-size or --chunk-size, or raise the limit on address space (ulimit -v).");
  return {data, [size](void* p) { munmap(p, size); }};
}

}  // namespace seer
