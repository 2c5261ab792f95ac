#include "models/json_util.h"

#include <cmath>
#include <limits>

#include "engine/base/file_reader.h"
#include "models/checkpoint_folder.h"
#include "seer/error.h"

namespace seer {
namespace {

// Returns the integer that a number stands for (8192 for "8192.0"), if it fits 64 bits.
std::optional<int64_t> integer_of(const Json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) return std::nullopt;
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const auto number = value.get<double>();
  if (!(std::abs(number) < 0x1p63) || number != std::trunc(number)) return std::nullopt;
  return static_cast<int64_t>(number);
}

}  // namespace

Json read_json_object(const std::string& path, int64_t max_bytes, size_t max_values) {
  const std::string text = read_whole_file(path, static_cast<uint64_t>(max_bytes));
  refuse_stand_in(path, text);
  return parse_json_object(text, path, max_values);
}

const Json* JsonReader::find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool JsonReader::is_null(const char* key) const {
  const auto it = object_.find(key);
  return it != object_.end() && it->is_null();
}

void JsonReader::fail(const std::string& key, const std::string& expected, const Json& found) const {
  throw Error(ErrorKind::kFile,
              origin_ + ": expected " + key + " to be " + expected + ", found " + json_excerpt(found));
}

std::optional<int64_t> JsonReader::optional_integer(const char* key, int64_t low, int64_t high) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> integer = integer_of(*value);
  if (!integer || *integer < low || *integer > high)
    fail(key, "an integer from " + std::to_string(low) + " to " + std::to_string(high), *value);
  return integer;
}

int64_t JsonReader::integer(std::initializer_list<const char*> keys, int64_t low, int64_t high) const {
  std::string names;
  for (const char* key : keys) {
    if (const auto value = optional_integer(key, low, high)) return *value;
    names += (names.empty() ? "" : " or ") + std::string(key);
  }
  throw Error(ErrorKind::kFile, origin_ + ": the key " + names + " is missing");
}

std::optional<double> JsonReader::optional_number(const char* key, double low, double high) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || !(value->get<double>() >= low && value->get<double>() <= high)) {
    char range[80];
    std::snprintf(range, sizeof range, "a number from %g to %g", low, high);
    fail(key, range, *value);
  }
  return value->get<double>();
}

double JsonReader::number(const char* key, double fallback, double low, double high) const {
  return optional_number(key, low, high).value_or(fallback);
}

bool JsonReader::boolean(const char* key, bool fallback) const {
  const Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) fail(key, "true or false", *value);
  return value->get<bool>();
}

std::optional<std::string> JsonReader::optional_string(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail(key, "a string", *value);
  return value->get<std::string>();
}

std::vector<int32_t> JsonReader::ids(const char* key) const {
  const Json* value = find(key);
  std::vector<int32_t> out;
  if (value == nullptr) return out;
  const auto add = [&](const Json& id) {
    const std::optional<int64_t> integer = integer_of(id);
    if (!integer || *integer > std::numeric_limits<int32_t>::max())
      fail(key, "a token id or a list of them, integers up to 2147483647", *value);
    if (*integer >= 0) out.push_back(static_cast<int32_t>(*integer));
  };
  if (value->is_array()) {
    for (const Json& id : *value) add(id);
  } else {
    add(*value);
  }
  return out;
}

}  // namespace seer
