#include "tokenizer/json_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "seer/error.h"

namespace seer {
namespace {

constexpr uintmax_t kMaxBytes = uintmax_t{256} << 20;
constexpr int kMaxDepth = 64;

constexpr int kMaxTextDepth = 128;

// How deep brackets are nested, those in strings left out.
int depth_of(std::string_view json) {
  int depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

nlohmann::ordered_json parse_json_text(std::string_view text, std::string_view name) {
  if (depth_of(text) > kMaxTextDepth)
    throw Error(ErrorKind::kUsage, std::string(name) + ": expected JSON at most " +
                                       std::to_string(kMaxTextDepth) + " levels deep");
  try {
    return nlohmann::ordered_json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorKind::kUsage, std::string(name) + ": expected JSON: " + e.what());
  }
}

std::string read_text_file(const std::string& path) {
  std::error_code error;
  const auto size =
      std::filesystem::is_regular_file(path, error) ? std::filesystem::file_size(path, error) : 0;
  std::ifstream file(path, std::ios::binary);
  if (error || !file || !std::filesystem::is_regular_file(path, error))
    throw Error(ErrorKind::kFile, path + ": cannot be read; expected a regular file that this user may read");
  if (size > kMaxBytes)
    throw Error(ErrorKind::kFile,
                path + ": expected at most 256 MiB, found " + std::to_string(size) + " bytes");
  std::string text(static_cast<size_t>(size), '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(size)))
    throw Error(ErrorKind::kFile, path + ": reading failed");
  return text;
}

std::optional<nlohmann::json> read_json_file(const std::string& path) {
  if (!std::filesystem::exists(path)) return std::nullopt;
  const std::string text = read_text_file(path);
  const auto watch = [&](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kMaxDepth) throw Error(ErrorKind::kFile, path + ": nested more than 64 deep");
    return true;
  };
  nlohmann::json value;
  try {
    value = nlohmann::json::parse(text, watch);
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorKind::kFile, path + ": expected JSON: " + e.what());
  }
  if (!value.is_object()) throw Error(ErrorKind::kFile, path + ": expected a JSON object");
  return value;
}

std::optional<std::string> json_string(const nlohmann::json& object, const char* key,
                                       const std::string& path) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return std::nullopt;
  if (!it->is_string()) throw Error(ErrorKind::kFile, path + ": expected " + key + " to be a string");
  return it->get<std::string>();
}

bool json_bool(const nlohmann::json& object, const char* key, bool fallback, const std::string& path) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return fallback;
  if (!it->is_boolean()) throw Error(ErrorKind::kFile, path + ": expected " + key + " to be true or false");
  return it->get<bool>();
}

}  // namespace seer
