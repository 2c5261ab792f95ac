// JSON files of a tokenizer, of untrusted origin.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/json.h"

namespace seer {

// The object in the file; absent if there is no such file. Throws Error{kFile} if it is no regular file,
// unreadable, larger than 256 MiB, or refused by parse_json_object; it may have 8 million values.
std::optional<Json> read_json_file(const std::string& path);

// JSON that a caller hands over as text. Throws Error{kUsage} that begins with `name` if it is malformed,
// nested more than 128 deep, or has more than 4 million values; Error{kUnsupported} for an integer that does
// not fit 64 bits, which Python keeps. `check`, if there is one, may throw to stop the reading.
OrderedJson parse_json_text(std::string_view text, std::string_view name,
                            const std::function<void()>& check = {});

// Members with a fixed type; throw Error{kFile} that names path and key for another one. null counts as
// absent.
std::optional<std::string> json_string(const Json& object, const char* key, const std::string& path);
bool json_bool(const Json& object, const char* key, bool fallback, const std::string& path);

}  // namespace seer
