#include "models/mapped_file.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/base/file_reader.h"
#include "models/checkpoint_folder.h"
#include "seer/error.h"

namespace seer {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  const OpenFile file = open_file(path);
  const std::byte* data = nullptr;
  if (file.size > 0) {
    void* mapped = mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
    if (mapped == MAP_FAILED)
      throw Error(ErrorKind::kFile, path + ": cannot be mapped: " + std::strerror(errno));
    data = static_cast<const std::byte*>(mapped);
  }
  std::shared_ptr<const MappedFile> mapped(new MappedFile(path, data, file.size));
  refuse_stand_in(path, {reinterpret_cast<const char*>(data), file.size});
  return mapped;
}

MappedFile::MappedFile(std::string path, const std::byte* data, size_t size)
    : path_(std::move(path)), data_(data), size_(size) {}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace seer
