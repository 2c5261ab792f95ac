// Opening and reading files of untrusted origin.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace seer {

// A descriptor that is closed at the end of its scope.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// A regular file that is open for reading at its first byte.
struct OpenFile {
  std::string path;
  FileDescriptor fd;
  uint64_t size;  // in bytes when it was opened; files below /proc say 0 whatever they hold
};

// Throws Error{kFile} that names the path if the file is missing, may not be read or is no regular file. A
// pipe or a device is refused without waiting for a writer and without reading a byte of it.
OpenFile open_file(const std::string& path);
// The same, but returns nothing if nothing of that name is there. A link that leads to nothing is refused: a
// folder of the Hugging Face cache whose download was cut short holds such links.
std::optional<OpenFile> open_file_if_there(const std::string& path);

// Returns all bytes of a regular file, which may be `max_bytes` at most. Throws as open_file does, and
// Error{kFile} if the file is larger, also if it only grows larger while it is read, or if reading fails.
std::string read_whole_file(const std::string& path, uint64_t max_bytes);
std::optional<std::string> read_whole_file_if_there(const std::string& path, uint64_t max_bytes);

// Returns everything that `fd` gives until its end, for descriptors that may be a pipe or a terminal. `name`
// is for messages. `check`, if there is one, is called before each read of some 64 KiB and after each signal,
// and may throw to end the reading. Throws Error{kFile} for more than `max_bytes`, of which no more is read,
// or if reading fails.
std::string read_to_end(int fd, const std::string& name, uint64_t max_bytes,
                        const std::function<void()>& check = {});

}  // namespace seer
