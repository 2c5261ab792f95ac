#include "models/json_util.h"

#include <cmath>
#include <limits>
#include <set>

#include "models/mapped_file.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr int kMaxDepth = 64;

// Python's json module writes numbers that are not finite as NaN, Infinity and -Infinity.
std::string_view special_float(std::string_view text) {
  for (const std::string_view name : {"NaN", "Infinity", "-Infinity"})
    if (text.starts_with(name)) return name;
  return {};
}

// Says which key has a number that is not finite, if the text has one outside its strings.
void refuse_special_floats(std::string_view text, const std::string& origin) {
  std::string_view key;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      const size_t begin = ++i;
      while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      const size_t next = text.find_first_not_of(" \t\r\n", i + 1);
      if (next != text.npos && text[next] == ':') key = text.substr(begin, i - begin);
    } else if (const std::string_view found = special_float(text.substr(i)); !found.empty()) {
      throw Error(ErrorKind::kFile, origin + ": expected the key " + json_excerpt(std::string(key)) +
                                        " to have finite numbers, found " + std::string(found) +
                                        ", which JSON does not know. Write a number, or remove the key.");
    }
  }
}

// The integer that a number is, "8192.0" included, if it is one of 64 bits.
std::optional<int64_t> integer_of(const nlohmann::json& value) {
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) return std::nullopt;
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const auto number = value.get<double>();
  if (!(std::abs(number) < 0x1p63) || number != std::trunc(number)) return std::nullopt;
  return static_cast<int64_t>(number);
}

}  // namespace

std::string json_excerpt(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

nlohmann::json parse_json_object(std::string_view text, const std::string& origin) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, Event event, nlohmann::json& parsed) {
    if (depth > kMaxDepth)
      throw Error(ErrorKind::kFile, origin + ": nested more than " + std::to_string(kMaxDepth) + " deep");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw Error(ErrorKind::kFile, origin + ": the key " + json_excerpt(parsed) + " is there twice");
    return true;
  };
  nlohmann::json value;
  try {
    value = nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception& e) {
    refuse_special_floats(text, origin);
    throw Error(ErrorKind::kFile, origin + ": expected JSON: " + e.what());
  }
  if (!value.is_object())
    throw Error(ErrorKind::kFile, origin + ": expected a JSON object, found " + json_excerpt(value));
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

bool JsonReader::is_null(const char* key) const {
  const auto it = object_.find(key);
  return it != object_.end() && it->is_null();
}

void JsonReader::fail(const std::string& key, const std::string& expected,
                      const nlohmann::json& found) const {
  throw Error(ErrorKind::kFile,
              origin_ + ": expected " + key + " to be " + expected + ", found " + json_excerpt(found));
}

std::optional<int64_t> JsonReader::optional_integer(const char* key, int64_t low, int64_t high) const {
  const nlohmann::json* value = find(key);
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
    const std::optional<int64_t> integer = integer_of(id);
    if (!integer || *integer > std::numeric_limits<int32_t>::max())
      fail(key, "a token id or a list of them", *value);
    if (*integer >= 0) out.push_back(static_cast<int32_t>(*integer));
  };
  if (value->is_array()) {
    for (const nlohmann::json& id : *value) add(id);
  } else {
    add(*value);
  }
  return out;
}

}  // namespace seer
