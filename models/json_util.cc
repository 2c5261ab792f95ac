#include "models/json_util.h"

#include <cmath>
#include <limits>
#include <set>

#include "models/mapped_file.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int kMaxDepth = 64;

// What a message can show of a value.
std::string excerpt(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

}  // namespace

nlohmann::json parse_json_object(std::string_view text, const std::string& origin) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, Event event, nlohmann::json& parsed) {
    if (depth > kMaxDepth)
      throw Error(ErrorKind::kFile, origin + ": nested more than " + std::to_string(kMaxDepth) + " deep");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw Error(ErrorKind::kFile, origin + ": the key " + excerpt(parsed) + " is there twice");
    return true;
  };
  nlohmann::json value;
  try {
    value = nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorKind::kFile, origin + ": expected JSON: " + e.what());
  }
  if (!value.is_object())
    throw Error(ErrorKind::kFile, origin + ": expected a JSON object, found " + excerpt(value));
  return value;
}

nlohmann::json read_json_object(const std::string& path, int64_t max_bytes) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (static_cast<int64_t>(bytes.size()) > max_bytes)
    throw Error(ErrorKind::kFile, path + ": expected at most " + std::to_string(max_bytes) +
                                      " bytes of JSON, found " + std::to_string(bytes.size()));
  return parse_json_object({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path);
}

const nlohmann::json* JsonReader::find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

void JsonReader::fail(const std::string& key, const std::string& expected,
                      const nlohmann::json& found) const {
  throw Error(ErrorKind::kFile,
              origin_ + ": expected " + key + " to be " + expected + ", found " + excerpt(found));
}

std::optional<int64_t> JsonReader::optional_integer(const char* key, int64_t low, int64_t high) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return std::nullopt;
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<uint64_t>() <= uint64_t{INT64_MAX});
  if (!fits || value->get<int64_t>() < low || value->get<int64_t>() > high)
    fail(key, "an integer from " + std::to_string(low) + " to " + std::to_string(high), *value);
  return value->get<int64_t>();
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
  const nlohmann::json* value = find(key);
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
  const nlohmann::json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) fail(key, "true or false", *value);
  return value->get<bool>();
}

std::optional<std::string> JsonReader::optional_string(const char* key) const {
  const nlohmann::json* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) fail(key, "a string", *value);
  return value->get<std::string>();
}

std::vector<int32_t> JsonReader::ids(const char* key) const {
  const nlohmann::json* value = find(key);
  std::vector<int32_t> out;
  if (value == nullptr) return out;
  const auto add = [&](const nlohmann::json& id) {
    if (!id.is_number_integer() || id < 0 || id > std::numeric_limits<int32_t>::max())
      fail(key, "a token id or a list of them", *value);
    out.push_back(id.get<int32_t>());
  };
  if (value->is_array()) {
    for (const nlohmann::json& id : *value) add(id);
  } else {
    add(*value);
  }
  return out;
}

}  // namespace seer
