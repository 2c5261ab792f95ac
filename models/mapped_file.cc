#include "models/mapped_file.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "engine/base/file_reader.h"
#include "models/checkpoint_folder.h"
#include "seer/error.h"

namespace seer {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  const OpenFile file = open_file(path);
  const std::shared_ptr<MappedFile> mapped(new MappedFile(path));
  if (file.size > 0) mapped->map(file.fd.get(), file.size);
  refuse_stand_in(path, {reinterpret_cast<const char*>(mapped->data_), mapped->size_});
  return mapped;
}

void MappedFile::map(int fd, size_t size) {
  void* data = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    throw Error(error == ENOMEM ? ErrorKind::kMemory : ErrorKind::kFile,
                path_ + ": cannot be mapped: " + std::strerror(error));
  }
  data_ = static_cast<const std::byte*>(data);
  size_ = size;
  range_.emplace(data_, size_, path_.c_str());
}

MappedFile::~MappedFile() {
  range_.reset();
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace seer
