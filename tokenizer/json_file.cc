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

// The digits that `text` begins with are an integer beyond 64 bits, which the parser would make a rounded
// number of. Python keeps such integers.
bool is_wide_integer(std::string_view text) {
  constexpr std::string_view kLargest = "9223372036854775807";
  const size_t n = std::min(text.find_first_not_of("0123456789"), text.size());
  const bool fraction = n < text.size() && std::string_view(".eE").find(text[n]) != std::string_view::npos;
  return !fraction && (n > kLargest.size() || (n == kLargest.size() && text.substr(0, n) > kLargest));
}

// How deep brackets are nested, those in strings left out. Throws Error{kUnsupported} for integers beyond 64
// bits.
int depth_of(std::string_view json, std::string_view name) {
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
    } else if (c >= '0' && c <= '9') {
      if (is_wide_integer(json.substr(i)))
        throw Error(ErrorKind::kUnsupported,
                    std::string(name) + ": expected integers of at most 64 bits, found " +
                        std::string(json.substr(i, json.find_first_not_of("0123456789", i) - i)));
      // The rest of the number, its exponent included.
      i = std::min(json.find_first_not_of("0123456789+-.eE", i), json.size()) - 1;
    }
  }
  return deepest;
}

}  // namespace

nlohmann::ordered_json parse_json_text(std::string_view text, std::string_view name) {
  if (depth_of(text, name) > kMaxTextDepth)
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
