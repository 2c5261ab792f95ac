// Reading JSON files of untrusted origin with messages that name the file and the key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/json_file.h"

namespace seer {

// Throws as parse_json_object does, and Error{kFile} if the file is missing, unreadable, larger than
// max_bytes, or a Git LFS pointer or a web page in place of one.
Json read_json_object(const std::string& path, int64_t max_bytes, size_t max_values = kMaxConfigValues);

// Typed access to one object's keys; null counts as absent.
class JsonReader {
 public:
  JsonReader(const Json& object, std::string origin) : object_(object), origin_(std::move(origin)) {}

  bool has(const char* key) const { return find(key) != nullptr; }
  // Returns whether the key is there with the value null, for the few keys for which null has a meaning of
  // its own.
  bool is_null(const char* key) const;
  const Json* find(const char* key) const;
  // Returns the value of the first of `keys` that is there. Throws Error{kFile} if none is, or if the value
  // is no integer in [low, high]. A number with a fraction of zero ("8192.0") is an integer, here and below.
  int64_t integer(std::initializer_list<const char*> keys, int64_t low, int64_t high) const;
  std::optional<int64_t> optional_integer(const char* key, int64_t low, int64_t high) const;
  std::optional<double> optional_number(const char* key, double low, double high) const;
  double number(const char* key, double fallback, double low, double high) const;
  bool boolean(const char* key, bool fallback) const;
  std::optional<std::string> optional_string(const char* key) const;
  // Returns the value of a key that is one id or a list of ids; empty if it is absent. Negative ids are left
  // out: no token has one, and people write them for "none".
  std::vector<int32_t> ids(const char* key) const;

  const std::string& origin() const { return origin_; }
  [[noreturn]] void fail(const std::string& key, const std::string& expected, const Json& found) const;

 private:
  Json object_;
  std::string origin_;
};

}  // namespace seer
