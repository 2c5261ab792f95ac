// Writes a safetensors file that is either complete or absent.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/output_file.h"

namespace seer {

class SafetensorsWriter {
 public:
  // Opens the file as OutputFile does, and throws as it does.
  explicit SafetensorsWriter(std::string path) : file_(std::move(path)) {}

  // `data` must outlive write(). Tensors lie in the file in the order in which they were added.
  void add(const std::string& name, const char* dtype, std::vector<int64_t> shape, const void* data,
           size_t n_bytes);
  void add_metadata(const std::string& key, const std::string& value);
  void write(Durability durability = Durability::kNone);

 private:
  struct Tensor {
    std::string name, dtype;
    std::vector<int64_t> shape;
    const void* data;
    size_t n_bytes;
  };

  OutputFile file_;
  std::vector<Tensor> tensors_;
  std::vector<std::pair<std::string, std::string>> metadata_;
};

}  // namespace seer
