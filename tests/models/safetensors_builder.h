// Builds safetensors files byte by byte, right or wrong, without the library under test.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace seer::testing {

struct NamedTensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

NamedTensor f32_tensor(const std::string& name, const std::vector<int64_t>& shape,
                       const std::vector<float>& values);
// Returns a tensor of zeros, for tests in which only shapes matter.
NamedTensor zero_tensor(const std::string& name, const std::string& dtype, const std::vector<int64_t>& shape);

// Returns a file of any header before any data, with the header's true length.
std::string safetensors_bytes(const std::string& header, const std::string& data);
// Returns a valid file, with the data in the given order.
std::string safetensors_bytes(const std::vector<NamedTensor>& tensors);
// Returns the file model.safetensors.index.json for tensors by shard name.
std::string index_bytes(const std::vector<std::pair<std::string, std::vector<NamedTensor>>>& shards);

// Returns `n` as `size` little-endian bytes.
std::string little_endian(uint64_t n, int size);

}  // namespace seer::testing
