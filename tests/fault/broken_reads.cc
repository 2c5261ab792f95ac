// Preloaded into seer (LD_PRELOAD): read() of one file fails in a chosen way. SEER_FAULT_FILE is the end of
// the file's path. SEER_FAULT is one of
//   eio:N     a broken disk: after N bytes every read fails
//   cut:N     another process cuts the file short: after N bytes it ends
//   trickle   a slow file system: a few bytes at a time, and every other read is interrupted by a signal
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

using Read = ssize_t (*)(int, void*, size_t);

bool is_the_file(int fd) {
  const char* end = std::getenv("SEER_FAULT_FILE");
  std::array<char, 64> link{};
  std::array<char, 4096> path{};
  std::snprintf(link.data(), link.size(), "/proc/self/fd/%d", fd);
  const ssize_t n = ::readlink(link.data(), path.data(), path.size());
  return end != nullptr && n > 0 && std::string_view(path.data(), static_cast<size_t>(n)).ends_with(end);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) ssize_t read(int fd, void* buffer, size_t size) {
  static const auto kReal = reinterpret_cast<Read>(::dlsym(RTLD_NEXT, "read"));
  const char* const fault = std::getenv("SEER_FAULT");
  if (fault == nullptr || !is_the_file(fd)) return kReal(fd, buffer, size);
  const std::string_view kind(fault, 4);
  if (kind == "tric") {
    static int n_calls = 0;
    if (++n_calls % 2 == 0) {
      errno = EINTR;
      return -1;
    }
    return kReal(fd, buffer, std::min<size_t>(size, 1000));
  }
  static size_t left = std::strtoull(fault + 4, nullptr, 10);
  if (left == 0) {
    if (kind == "cut:") return 0;
    errno = EIO;
    return -1;
  }
  const ssize_t n = kReal(fd, buffer, std::min(size, left));
  if (n > 0) left -= static_cast<size_t>(n);
  return n;
}
