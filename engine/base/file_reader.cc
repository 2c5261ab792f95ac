#include "engine/base/file_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "seer/error.h"

namespace seer {
namespace {

constexpr size_t kReadBytes = size_t{1} << 16;

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::kFile, name + ": " + what);
}

// Returns "256 MiB" for 268435456 and "1000 bytes" for 1000.
std::string size_text(uint64_t bytes) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  return bytes >= kMiB && bytes % kMiB == 0 ? std::to_string(bytes / kMiB) + " MiB"
                                            : std::to_string(bytes) + " bytes";
}

std::string kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

bool is_link(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0 && S_ISLNK(info.st_mode);
}

// Reads into `text`, which has room for `room` bytes, and returns how many bytes were filled. `check` is
// called before every attempt, so also after a signal, since that signal may be the one that ends the
// reading.
size_t read_some(int fd, const std::string& name, char* text, size_t room,
                 const std::function<void()>& check) {
  while (true) {
    if (check) check();
    const ssize_t n = ::read(fd, text, room);
    if (n >= 0) return static_cast<size_t>(n);
    if (errno != EINTR) fail(name, std::string("reading failed: ") + std::strerror(errno));
  }
}

// Reads to the end. `size` is only a hint of how much memory to reserve.
std::string read_all(int fd, const std::string& name, uint64_t size, uint64_t max_bytes,
                     const std::function<void()>& check) {
  std::string text;
  text.reserve(std::min(size, max_bytes));
  std::string block(kReadBytes, '\0');
  while (true) {
    const size_t n = read_some(fd, name, block.data(), block.size(), check);
    if (n == 0) return text;
    if (n > max_bytes - text.size()) fail(name, "expected at most " + size_text(max_bytes) + ", found more");
    text.append(block, 0, n);
  }
}

std::string read_all(const OpenFile& file, uint64_t max_bytes) {
  if (file.size > max_bytes)
    fail(file.path,
         "expected at most " + size_text(max_bytes) + ", found " + std::to_string(file.size) + " bytes");
  return read_all(file.fd.get(), file.path, file.size, max_bytes, {});
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::optional<OpenFile> open_file_if_there(const std::string& path) {
  // With O_NONBLOCK, opening a pipe does not wait for its writer.
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.get() < 0) {
    const int error = errno;
    const bool missing = error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG;
    if (missing && is_link(path))
      fail(path, "is a link to a file that is not there; copy or download that file again");
    if (missing) return std::nullopt;
    fail(path, std::string("cannot be opened: ") + std::strerror(error));
  }
  struct stat info {};
  if (fstat(fd.get(), &info) != 0) fail(path, std::string("cannot be read: ") + std::strerror(errno));
  if (!S_ISREG(info.st_mode)) fail(path, "expected a regular file, found " + kind_of(info.st_mode));
  return OpenFile{path, std::move(fd), static_cast<uint64_t>(info.st_size)};
}

OpenFile open_file(const std::string& path) {
  std::optional<OpenFile> file = open_file_if_there(path);
  if (!file) fail(path, "there is no such file");
  return std::move(*file);
}

std::string read_whole_file(const std::string& path, uint64_t max_bytes) {
  return read_all(open_file(path), max_bytes);
}

std::optional<std::string> read_whole_file_if_there(const std::string& path, uint64_t max_bytes) {
  const std::optional<OpenFile> file = open_file_if_there(path);
  return file ? std::optional(read_all(*file, max_bytes)) : std::nullopt;
}

std::string read_to_end(int fd, const std::string& name, uint64_t max_bytes,
                        const std::function<void()>& check) {
  return read_all(fd, name, 0, max_bytes, check);
}

}  // namespace seer
