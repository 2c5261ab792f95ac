// Reads the members of a zip file that torch.save wrote. They are stored, not compressed, so they are used in
// the mapped file. Format: PKWARE APPNOTE 6.3, sections 4.3 and 4.5.3 (zip64).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "models/mapped_file.h"

namespace seer {

class ZipReader {
 public:
  // Throws Error{kFile} if the file is no zip, its directory is damaged, or members overlap, and
  // Error{kUnsupported} for compressed or encrypted members.
  explicit ZipReader(std::shared_ptr<const MappedFile> file);

  bool has(const std::string& name) const { return members_.count(name) != 0; }
  // Throws Error{kFile} if there is no such member, or its bytes do not have the checksum that the directory
  // gives.
  std::span<const std::byte> read(const std::string& name) const;
  const std::string& path() const { return file_->path(); }
  // Returns the folder in which every member lies ("archive" in most files of torch.save).
  const std::string& root() const { return root_; }

 private:
  struct Member {
    uint64_t begin;  // of its local header, from the file's first byte
    std::span<const std::byte> bytes;
    uint32_t crc32;
  };
  void read_directory();
  void refuse_overlaps() const;

  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, Member> members_;
  std::string root_;
};

}  // namespace seer
