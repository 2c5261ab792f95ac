// JSON files of a tokenizer, of untrusted origin.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace seer {

// The object in the file; absent where there is no such file. Throws Error{kFile} where it is unreadable,
// larger than 256 MiB, no JSON object, or nested more than 64 deep.
std::optional<nlohmann::json> read_json_file(const std::string& path);
// As it; throws Error{kFile} where the file is missing too.
std::string read_text_file(const std::string& path);

// JSON that a caller hands over as text. Throws Error{kUsage} that begins with `name` if it is malformed or
// nested more than 128 deep; Error{kUnsupported} for an integer that does not fit 64 bits.
nlohmann::ordered_json parse_json_text(std::string_view text, std::string_view name);

// Members with a fixed type; throw Error{kFile} that names path and key for another one. null counts as
// absent.
std::optional<std::string> json_string(const nlohmann::json& object, const char* key,
                                       const std::string& path);
bool json_bool(const nlohmann::json& object, const char* key, bool fallback, const std::string& path);

}  // namespace seer
