// Writes a safetensors file that is whole or absent.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace seer::cli {

class SafetensorsWriter {
 public:
  // Opens `path`.tmp beside the target, so that a folder which cannot be written to is known before the work.
  // Where `path` is something other than a regular file (a pipe, /dev/full), it is written directly. Throws
  // Error{kRuntime}, as write() does; the temporary file is removed on every way out but success.
  explicit SafetensorsWriter(std::string path);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // `data` must outlive write(). Tensors lie in the file in the order they are added.
  void add(const std::string& name, const char* dtype, std::vector<int64_t> shape, const void* data,
           size_t n_bytes);
  void add_metadata(const std::string& key, const std::string& value);
  void write();

 private:
  struct Tensor {
    std::string name, dtype;
    std::vector<int64_t> shape;
    const void* data;
    size_t n_bytes;
  };
  [[noreturn]] void fail(const std::string& what) const;
  void write_all(const void* data, size_t n_bytes) const;

  std::string path_, temporary_;  // temporary_ empty: path_ is written directly
  int fd_ = -1;
  std::vector<Tensor> tensors_;
  std::vector<std::pair<std::string, std::string>> metadata_;
};

}  // namespace seer::cli
