// How many bytes the pages in a folder take, counted by all processes that use the folder together.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "engine/base/file_reader.h"

namespace seer {

// A file that holds a few numbers. They are changed under a lock on it (flock), which the kernel opens when a
// process ends, however it ends. Thread-safe.
//
// The rule that keeps the bound: the numbers are raised before a file is made, and lowered after it was
// removed, both under the lock. A file has its full size from the beginning. So if a process ends in between,
// the numbers are too large, never too small, until count_again() of a later process.
class PageSpace {
 public:
  struct Numbers {
    int64_t bytes = 0;  // of files, those that are being written too
    int64_t pages = 0;
    int64_t added = 0;  // how many files were ever made

    friend bool operator==(const Numbers&, const Numbers&) = default;
  };

  // Opens the file, and makes it if there is none. Throws Error{kRuntime} if that fails, and Error{kFile} if
  // it belongs to another version.
  explicit PageSpace(const std::string& path);

  // Keeps other threads and processes away until it is destroyed. It does not hold the lock if
  // another process kept it for all of `patience`, or if anybody has it and `patience` is 0.
  class Lock {
   public:
    Lock(const PageSpace& space, std::chrono::milliseconds patience);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    explicit operator bool() const { return error_ == 0; }
    int error() const { return error_; }  // errno; EWOULDBLOCK: another process has the lock

   private:
    std::unique_lock<std::mutex> threads_;
    int fd_ = -1;
    int error_ = 0;
  };

  // Reads the numbers, for which no lock is needed. Returns nothing if they are damaged.
  std::optional<Numbers> read() const;
  int write(const Numbers& numbers) const;  // errno; the caller must have the lock
  // Returns whether the file was removed while it was open. If so, processes that open the
  // folder later count in another file.
  bool removed() const;

 private:
  std::string path_;
  FileDescriptor fd_;
  mutable std::mutex mutex_;  // flock keeps processes apart, not threads
};

}  // namespace seer
