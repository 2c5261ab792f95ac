#include "tests/models/safetensors_builder.h"

#include <cstring>
#include <nlohmann/json.hpp>

namespace seer::testing {

NamedTensor f32_tensor(const std::string& name, const std::vector<int64_t>& shape,
                       const std::vector<float>& values) {
  NamedTensor t{name, "F32", shape, std::string(values.size() * sizeof(float), '\0')};
  std::memcpy(t.bytes.data(), values.data(), t.bytes.size());
  return t;
}

NamedTensor zero_tensor(const std::string& name, const std::string& dtype,
                        const std::vector<int64_t>& shape) {
  int64_t bytes = dtype == "F64" || dtype == "I64"   ? 8
                  : dtype == "F32" || dtype == "I32" ? 4
                  : dtype == "U8"                    ? 1
                                                     : 2;
  for (const int64_t d : shape) bytes *= d;
  return {name, dtype, shape, std::string(static_cast<size_t>(bytes), '\0')};
}

std::string little_endian(uint64_t n, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) bytes += static_cast<char>(n >> (8 * i));
  return bytes;
}

std::string safetensors_bytes(const std::string& header, const std::string& data) {
  return little_endian(header.size(), 8) + header + data;
}

std::string safetensors_bytes(const std::vector<NamedTensor>& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const NamedTensor& t : tensors) {
    header[t.name] = {{"dtype", t.dtype},
                      {"shape", t.shape},
                      {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
    data += t.bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // as the official writer aligns the data
  return safetensors_bytes(text, data);
}

std::string index_bytes(const std::vector<std::pair<std::string, std::vector<NamedTensor>>>& shards) {
  nlohmann::json map = nlohmann::json::object();
  for (const auto& [shard, tensors] : shards)
    for (const NamedTensor& t : tensors) map[t.name] = shard;
  return nlohmann::json{{"metadata", {{"total_size", 0}}}, {"weight_map", map}}.dump();
}

}  // namespace seer::testing
