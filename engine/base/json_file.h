// JSON of files of untrusted origin, whose errors name the file.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "engine/base/json.h"
#include "engine/base/json_reader.h"

namespace seer {

// Enough for what configures a model, and small enough that no file of a few megabytes fills the memory.
inline constexpr size_t kMaxConfigValues = 1'000'000;

// Throws Error{kFile} if the text is not JSON, nests more than 64 deep, has more than `max_values` values,
// names a key of an object twice, or is not an object at its top. NaN and Infinity, which Python writes
// although JSON has no such numbers, are refused with a message that names the key that has them. Integers
// beyond 64 bits are rounded. `origin` is the file, for messages.
Json parse_json_object(std::string_view text, const std::string& origin,
                       size_t max_values = kMaxConfigValues);

// Does the same as read_json_members, with the errors above. Each member has at most kMaxConfigValues values.
void parse_json_members(std::string_view text, const std::string& origin, const JsonMember& member);

}  // namespace seer
