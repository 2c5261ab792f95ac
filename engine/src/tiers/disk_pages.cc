#include "engine/src/tiers/disk_pages.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "engine/src/tiers/disk_pages_failure.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int64_t kMostDamageLines = 16;

// Returns whether there is a regular file.
bool look(const std::string& path, struct stat* info) {
  return ::lstat(path.c_str(), info) == 0 && S_ISREG(info->st_mode);
}

// Opens without O_DIRECT if the file system does not know it.
int open_directly(const std::string& path, int flags, bool direct) {
  int fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (direct ? O_DIRECT : 0), 0600);
  if (fd < 0 && errno == EINVAL && direct) {
    // With O_EXCL, some kernels have made the file before they refuse.
    if ((flags & O_CREAT) != 0) ::unlink(path.c_str());
    fd = ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  }
  return fd;
}

}  // namespace

bool DiskPages::has(const PageName& name) {
  if (!reads_.may_try()) return false;
  const std::string path = path_of(name);
  struct stat info {};
  int error = fault(DiskCall::kLook);
  if (error == 0 && ::lstat(path.c_str(), &info) != 0) error = errno;
  if (error == 0) return S_ISREG(info.st_mode) && info.st_size == file_bytes_;
  if (error != ENOENT) read_failed(error, path);
  return false;
}

bool DiskPages::store(const PageName& name, std::span<const std::byte> record, double cost_s) {
  if (static_cast<int64_t>(record.size()) != record_bytes_) return false;
  const double cost = std::isfinite(cost_s) ? std::max(cost_s, 0.0) : 0.0;
  struct stat info {};
  if (look(path_of(name), &info) && info.st_size == file_bytes_) {
    mark_used(name, cost);
    return true;
  }
  if (reads_only_ || !writes_.may_try()) return false;
  try {
    if (!write_new(name, record, cost)) return false;
  } catch (const Failure& failure) {
    write_failed(failure);
    return false;
  } catch (const Error& error) {  // the folder could not be opened again
    write_failed({EIO, "open", error.what()});
    return false;
  }
  if (writes_.succeeded()) log(LogLevel::kInfo, "the disk cache writes to " + dir_ + " again");
  return true;
}

// Returns false if the page is not kept, although nothing failed.
bool DiskPages::write_new(const PageName& name, std::span<const std::byte> record, double cost_s) {
  std::shared_ptr<PageSpace> space = this->space();
  if (space->removed()) {  // somebody has removed the folder; perhaps it can be made again
    reopen();
    space = this->space();
  }
  const std::string temporary = path_of(name) + "." + std::to_string(::getpid()) + "-" +
                                std::to_string(++next_temporary_) + "-" + std::to_string(wall_clock_ns()) +
                                ".tmp";
  const std::optional<FileDescriptor> fd = reserve(*space, temporary);
  if (!fd) return false;
  const PageFileHead head{name, record_bytes_, cost_s, checksum_of(record)};
  std::unique_ptr<PageFileBuffer> buffer = take_buffer();
  int error = fault(DiskCall::kWrite);
  if (error == 0) error = write_page_file(fd->get(), head, record, *buffer);
  give_back(std::move(buffer));
  int64_t stamp = 0;
  {
    const std::lock_guard lock(mutex_);
    worth_.stored(cost_s, file_bytes_);
    stamp = worth_.stamp(wall_clock_ns(), cost_s, file_bytes_);
  }
  set_stamp(temporary, stamp);  // the file system's own times may be those of the last tick, 4 ms ago
  if (!put_in_place(*space, name, temporary, error)) return false;
  ++counters_.stored;
  learn(name);
  return true;
}

// Makes room, and makes a file of the full size, with a lock by which other processes see that it is being
// written. Returns nothing if there is no room, or if another process keeps the lock of the folder.
std::optional<FileDescriptor> DiskPages::reserve(const PageSpace& space, const std::string& temporary) {
  const PageSpace::Lock lock(space, options_.patience);
  if (!lock) {
    if (lock.error() != EWOULDBLOCK) throw Failure{lock.error(), "lock", dir_ + "/space"};
    ++counters_.busy;
    return std::nullopt;
  }
  Numbers numbers = numbers_under_lock(space);
  const bool room = make_room(file_bytes_, &numbers);
  if (room) {
    numbers.bytes += file_bytes_;
    ++numbers.pages;
    ++numbers.added;
    const std::lock_guard index_lock(mutex_);
    ++n_added_known_;
  }
  if (const int error = space.write(numbers); error != 0) throw Failure{error, "write", dir_ + "/space"};
  if (!room) return std::nullopt;
  try {
    return create(temporary);
  } catch (const Failure&) {
    if (::unlink(temporary.c_str()) == 0 || errno == ENOENT) {
      numbers.bytes -= file_bytes_;
      --numbers.pages;
      (void)space.write(numbers);
    }
    throw;
  }
}

FileDescriptor DiskPages::create(const std::string& path) {
  const auto open = [&] { return FileDescriptor(open_directly(path, O_WRONLY | O_CREAT | O_EXCL, true)); };
  if (const int error = fault(DiskCall::kCreate); error != 0) throw Failure{error, "make", path};
  FileDescriptor fd = open();
  if (fd.get() < 0 && errno == ENOENT) {  // perhaps there is no folder for it yet
    if (const int error = make_model_folder(model_dir_, fingerprint_, record_bytes_); error != 0)
      throw Failure{error, "make", model_dir_};
    ::mkdir(path.substr(0, path.rfind('/')).c_str(), 0700);
    fd = open();
  }
  // The lock tells others that the file's writer lives.
  if (fd.get() < 0 || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 || ::ftruncate(fd.get(), file_bytes_) != 0)
    throw Failure{errno, "make", path};
  return fd;
}

// Gives the file its name if there was no error, else removes it. Returns false if the page is not kept
// because another process has the lock.
bool DiskPages::put_in_place(const PageSpace& space, const PageName& name, const std::string& temporary,
                             int error) {
  const PageSpace::Lock lock(space, options_.patience);
  if (!lock) {
    ::unlink(temporary.c_str());  // the numbers stay too large until the folder is counted again
    if (error != 0) throw Failure{error, "write", temporary};
    ++counters_.busy;
    return false;
  }
  const std::string path = path_of(name);
  struct stat before {};
  const bool replaces = look(path, &before);
  const bool there = replaces && before.st_size == file_bytes_;  // another process was faster
  if (error == 0 && !there) {
    if (!replaces && ::lstat(path.c_str(), &before) == 0) error = EEXIST;  // what has this name is no file
    if (error == 0) error = fault(DiskCall::kRename);
    if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  }
  const bool placed = error == 0 && !there;
  const bool removed = !placed && (::unlink(temporary.c_str()) == 0 || errno == ENOENT);
  if (removed || (placed && replaces)) {
    Numbers numbers = numbers_under_lock(space);
    numbers.bytes -= removed ? file_bytes_ : before.st_size;
    --numbers.pages;
    (void)space.write(numbers);
  }
  if (error != 0) throw Failure{error, "write", path};
  return true;
}

bool DiskPages::load(const PageName& name, std::span<std::byte> record) {
  if (static_cast<int64_t>(record.size()) != record_bytes_ || !reads_.may_try()) return false;
  const std::string path = path_of(name);
  int error = fault(DiskCall::kOpen);
  const FileDescriptor fd(error != 0 ? -1 : open_directly(path, O_RDONLY, options_.direct_reads));
  if (error == 0 && fd.get() < 0) error = errno;
  struct stat info {};
  if (error == 0 && ::fstat(fd.get(), &info) != 0) error = errno;
  if (error == ENOENT || error == ELOOP || (error == 0 && !S_ISREG(info.st_mode))) return false;
  PageFileResult result{error, ""};
  PageFileHead head;
  if (error == 0 && info.st_size != file_bytes_) {
    result.damage = "expected a file of " + std::to_string(file_bytes_) + " bytes, found one of " +
                    std::to_string(info.st_size);
  } else if (error == 0) {
    result = read(fd.get(), name, record, &head);
  }
  if (result.error != 0) {
    read_failed(result.error, path);
    return false;
  }
  if (reads_.succeeded()) log(LogLevel::kInfo, "the disk cache reads from " + dir_ + " again");
  if (!result.damage.empty()) {
    remove_damaged(path, name, result.damage, info.st_ino);
    return false;
  }
  ++counters_.loaded;
  mark_used(name, head.cost_s);
  return true;
}

PageFileResult DiskPages::read(int fd, const PageName& name, std::span<std::byte> record,
                               PageFileHead* head) {
  if (!options_.direct_reads) ::posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED);
  if (const int error = fault(DiskCall::kRead); error != 0) return {error, ""};
  std::unique_ptr<PageFileBuffer> buffer = take_buffer();
  PageFileResult result = read_page_file(fd, name, record, *buffer, head);
  give_back(std::move(buffer));
  return result;
}

// Removes a damaged file, because it takes space and each request that wants the page would read it again. By
// its name and place it is a file of this program.
void DiskPages::remove_damaged(const std::string& path, const PageName& name, const std::string& damage,
                               uint64_t inode) {
  const int64_t n = ++counters_.damaged;
  if (n <= kMostDamageLines)
    log(LogLevel::kWarning, "the disk cache's page " + path + " is not used, and is removed if it can be: " +
                                damage + (n == kMostDamageLines ? "; further ones are not reported" : ""));
  const std::shared_ptr<PageSpace> space = this->space();
  if (space == nullptr) return;
  const PageSpace::Lock lock(*space, std::chrono::milliseconds(0));  // a request is waiting
  struct stat info {};
  if (!lock || !look(path, &info) || info.st_ino != inode || ::unlink(path.c_str()) != 0) return;
  {
    const std::lock_guard index_lock(mutex_);
    index_.erase(name);
  }
  try {
    Numbers numbers = numbers_under_lock(*space);
    numbers.bytes -= info.st_size;
    --numbers.pages;
    (void)space->write(numbers);
  } catch (const Failure&) {  // then the numbers stay too large until the next count
  }
}

std::unique_ptr<PageFileBuffer> DiskPages::take_buffer() {
  {
    const std::lock_guard lock(mutex_);
    if (!buffers_.empty()) {
      std::unique_ptr<PageFileBuffer> buffer = std::move(buffers_.back());
      buffers_.pop_back();
      return buffer;
    }
  }
  return std::make_unique<PageFileBuffer>(record_bytes_);
}

void DiskPages::give_back(std::unique_ptr<PageFileBuffer> buffer) {
  const std::lock_guard lock(mutex_);
  buffers_.push_back(std::move(buffer));
}

void DiskPages::read_failed(int error, const std::string& path) {
  ++counters_.read_failures;
  if (reads_.failed())
    log(LogLevel::kWarning, "the disk cache " + Failure{error, "read", path}.text() +
                                "; requests go on without it, and it is tried again later");
}

void DiskPages::write_failed(const Failure& failure) {
  ++counters_.write_failures;
  if (writes_.failed())
    log(LogLevel::kWarning, "the disk cache " + failure.text() +
                                "; requests go on without keeping pages, and it is tried again later");
}

}  // namespace seer
