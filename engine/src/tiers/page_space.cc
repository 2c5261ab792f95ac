#include "engine/src/tiers/page_space.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <thread>

#include "engine/base/checksum.h"
#include "seer/error.h"

namespace seer {
namespace {

using std::chrono::milliseconds;

constexpr std::array<char, 8> kSpaceMagic = {'S', 'e', 'e', 'r', 'D', 'i', 's', 'k'};
constexpr uint64_t kSpaceVersion = 1;

struct Contents {
  std::array<char, 8> magic = kSpaceMagic;
  uint64_t version = kSpaceVersion;
  PageSpace::Numbers numbers;
  Checksum sum;

  Checksum right_sum() const {
    return checksum_of(std::as_bytes(std::span(this, 1)).first(sizeof(Contents) - sizeof(Checksum)));
  }
};
static_assert(sizeof(Contents) == 56 && std::is_trivially_copyable_v<Contents>);

// Returns whether the file has as many bytes as Contents.
bool read_contents(int fd, Contents* contents) {
  return ::pread(fd, contents, sizeof *contents, 0) == static_cast<ssize_t>(sizeof *contents);
}

int open_space(const std::string& path) {
  const int fd =
      ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
  if (fd < 0)
    throw Error(ErrorKind::kRuntime, path + ": expected a file that can be written to, found " +
                                         std::strerror(errno) + ". Give the disk cache a folder of its own.");
  return fd;
}

}  // namespace

PageSpace::PageSpace(const std::string& path) : path_(path), fd_(open_space(path)) {
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0 || !S_ISREG(info.st_mode))
    throw Error(
        ErrorKind::kFile,
        path + ": expected a regular file, found something else. Give the disk cache a folder of its own.");
  Contents contents;
  if (info.st_size == 0 || !read_contents(fd_.get(), &contents) || contents.magic != kSpaceMagic) {
    if (info.st_size > static_cast<off_t>(sizeof contents))
      throw Error(ErrorKind::kFile,
                  path +
                      ": expected the numbers of a disk cache, found another file. Give the "
                      "disk cache a folder of its own.");
    return;  // it is new, or damaged because a machine lost power
  }
  if (contents.version != kSpaceVersion)
    throw Error(ErrorKind::kFile, path + ": expected version " + std::to_string(kSpaceVersion) +
                                      " of the disk cache, found version " +
                                      std::to_string(contents.version) +
                                      ". Give this version of Seer another folder.");
}

PageSpace::Lock::Lock(const PageSpace& space, milliseconds patience)
    : threads_(space.mutex_, std::defer_lock) {
  const auto end = std::chrono::steady_clock::now() + patience;
  if (patience.count() > 0) {
    threads_.lock();
  } else if (!threads_.try_lock()) {
    error_ = EWOULDBLOCK;
    return;
  }
  // A wait in flock() itself would have no end if the other process is stopped. Processes hold the lock while
  // they make, rename and remove a few files, and while they count all of them.
  for (milliseconds pause(1);; pause = std::min(2 * pause, milliseconds(20))) {
    if (::flock(space.fd_.get(), LOCK_EX | LOCK_NB) == 0) {
      fd_ = space.fd_.get();
      error_ = 0;
      return;
    }
    error_ = errno;
    if (error_ != EWOULDBLOCK && error_ != EINTR) return;
    if (std::chrono::steady_clock::now() >= end) return;
    std::this_thread::sleep_for(pause);
  }
}

PageSpace::Lock::~Lock() {
  if (fd_ >= 0) ::flock(fd_, LOCK_UN);
}

std::optional<PageSpace::Numbers> PageSpace::read() const {
  Contents contents;
  for (int attempt = 0; attempt < 3; ++attempt)  // without the lock, half of a change may be read
    if (read_contents(fd_.get(), &contents) && contents.sum == contents.right_sum()) return contents.numbers;
  return std::nullopt;
}

int PageSpace::write(const Numbers& numbers) const {
  Contents contents;
  contents.numbers = numbers;
  contents.sum = contents.right_sum();
  const ssize_t n = ::pwrite(fd_.get(), &contents, sizeof contents, 0);
  return n == static_cast<ssize_t>(sizeof contents) ? 0 : n < 0 ? errno : ENOSPC;
}

bool PageSpace::removed() const {
  struct stat info {};
  return ::fstat(fd_.get(), &info) != 0 || info.st_nlink == 0;
}

}  // namespace seer
