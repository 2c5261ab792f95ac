// A read-only memory-mapped file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "models/mapped_ranges.h"

namespace seer {

// If the file is cut short, or its disk fails, while it is mapped, a thread that reads the lost part gets
// SIGBUS. seer/mapped_files.h says what a program can do about it.
class MappedFile {
 public:
  // Throws Error{kFile} if the file is missing, unreadable or not a regular file, or is a Git LFS pointer or
  // a web page in place of one. An empty file maps to an empty span.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  explicit MappedFile(std::string path) : path_(std::move(path)) {}
  void map(int fd, size_t size);

  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::optional<MappedRange> range_;
};

}  // namespace seer
