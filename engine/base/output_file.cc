#include "engine/base/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "engine/base/file_reader.h"
#include "seer/error.h"

namespace seer {
namespace fs = std::filesystem;

OutputFile::OutputFile(std::string path) : path_(std::move(path)) {
  std::error_code ignored;
  const fs::file_status status = fs::status(path_, ignored);
  if (fs::is_directory(status)) {
    errno = EISDIR;
    fail("open");
  }
  if (!fs::exists(status) || fs::is_regular_file(status)) {
    // If the path is a link, its target is replaced, not the link.
    const fs::path real = fs::weakly_canonical(path_, ignored);
    if (!real.empty()) path_ = real.string();
    temporary_ = path_ + ".tmp";
    replaces_ = fs::is_regular_file(status);
  }
  const std::string& target = temporary_.empty() ? path_ : temporary_;
  fd_ = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0666);
  if (fd_ < 0) {
    temporary_.clear();  // the file is not ours to remove
    fail("open");
  }
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::fail(const std::string& what) const {
  const char* const reason = std::strerror(errno);
  const char* const left = what == "open" ? ""
                           : replaces_    ? "; the file that was there before is left as it was"
                                          : "; no file is left";
  throw Error(ErrorKind::kRuntime, "cannot " + what + " " + path_ + ": " + reason + left);
}

void OutputFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("write");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

void OutputFile::finish(Durability durability) {
  const int fd = fd_;
  const bool sync = durability == Durability::kSynced && !temporary_.empty();
  if (sync && ::fsync(fd_) != 0) fail("write");
  fd_ = -1;
  if (::close(fd) != 0) fail("write");
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("write");
  temporary_.clear();
  if (!sync) return;
  // The new name is safe when the folder is. Some file systems cannot sync a folder, and need not be told.
  const FileDescriptor folder(
      ::open(fs::path(path_).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) ::fsync(folder.get());
}

}  // namespace seer
