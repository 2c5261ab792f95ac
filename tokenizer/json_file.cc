#include "tokenizer/json_file.h"

#include "engine/base/file_reader.h"
#include "engine/base/json_file.h"
#include "seer/error.h"

namespace seer {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;
// The limit of values in a file. The largest vocabularies, of 256k tokens with 580k merges, have some two
// million.
constexpr size_t kMaxFileValues = 8'000'000;
constexpr size_t kMaxTextDepth = 128;
constexpr size_t kMaxTextValues = 4'000'000;

}  // namespace

OrderedJson parse_json_text(std::string_view text, std::string_view name,
                            const std::function<void()>& check) {
  JsonLimits limits;
  limits.max_depth = kMaxTextDepth;
  limits.max_values = kMaxTextValues;
  limits.check = check;
  try {
    return read_ordered_json(text, limits);
  } catch (const JsonError& e) {
    if (e.kind() == JsonError::Kind::kWideInteger)
      throw Error(ErrorKind::kUnsupported, std::string(name) + ": " + e.what());
    throw Error(ErrorKind::kUsage, std::string(name) + ": expected JSON: " + e.what());
  }
}

std::optional<Json> read_json_file(const std::string& path) {
  const std::optional<std::string> text = read_whole_file_if_there(path, kMaxFileBytes);
  return text ? std::optional(parse_json_object(*text, path, kMaxFileValues)) : std::nullopt;
}

std::optional<std::string> json_string(const Json& object, const char* key, const std::string& path) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  if (!it->is_string()) throw Error(ErrorKind::kFile, path + ": expected " + key + " to be a string");
  return it->get<std::string>();
}

bool json_bool(const Json& object, const char* key, bool fallback, const std::string& path) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return fallback;
  if (!it->is_boolean()) throw Error(ErrorKind::kFile, path + ": expected " + key + " to be true or false");
  return it->get<bool>();
}

}  // namespace seer
