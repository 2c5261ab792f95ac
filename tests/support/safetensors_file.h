// Reads safetensors files independently of the library under test.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/test_data.h"

namespace seer::testing {

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path) : bytes_(read_file(path)) {
    uint64_t size = 0;
    std::memcpy(&size, bytes_.data(), sizeof size);
    header_ = nlohmann::json::parse(bytes_.substr(sizeof size, size));
    data_ = sizeof size + size;
  }
  template <class T>
  std::vector<T> get(const std::string& name) const {
    const auto& offsets = header_.at(name).at("data_offsets");
    const size_t begin = offsets[0], end = offsets[1];
    std::vector<T> out((end - begin) / sizeof(T));
    std::memcpy(out.data(), bytes_.data() + data_ + begin, end - begin);
    return out;
  }
  bool has(const std::string& name) const { return header_.contains(name); }
  std::vector<int64_t> shape(const std::string& name) const { return header_.at(name).at("shape"); }
  const nlohmann::json& header() const { return header_; }

 private:
  std::string bytes_;
  nlohmann::json header_;
  size_t data_ = 0;
};

}  // namespace seer::testing
