// JSON files of a tokenizer. Their origin is untrusted.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/json.h"

namespace seer {

// Returns the object in the file, or nothing if there is no such file. The file may have 8 million values.
// Throws Error{kFile} if it is no regular file, unreadable, larger than 256 MiB, or refused by
// parse_json_object.
std::optional<Json> read_json_file(const std::string& path);

// Parses JSON that a caller passes as text. Throws Error{kUsage} that begins with `name` if it is malformed,
// nested more than 128 levels deep, or has more than 4 million values. Throws Error{kUnsupported} for an
// integer that does not fit 64 bits, which Python would keep. If `check` is set, it may throw to stop the
// reading.
OrderedJson parse_json_text(std::string_view text, std::string_view name,
                            const std::function<void()>& check = {});

// Return a member of a fixed type. Throw Error{kFile} that names path and key if it has another type. null
// counts as absent.
std::optional<std::string> json_string(const Json& object, const char* key, const std::string& path);
bool json_bool(const Json& object, const char* key, bool fallback, const std::string& path);

}  // namespace seer
