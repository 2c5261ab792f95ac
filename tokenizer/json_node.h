// The nodes of the trees normalizer and pre_tokenizer in a tokenizer.json: objects with a type.
#pragma once

#include <string>

#include "engine/base/json.h"

namespace seer {

// All throw Error{kFile} that names `path` if the node is malformed.
std::string node_type(const Json& node, const std::string& path);
const Json& node_list(const Json& node, const char* key, const std::string& path);
// These read "pattern": {"String": " "} or {"Regex": "..."}. node_pattern() throws Error{kUnsupported} if the
// pattern is not of the kind asked for.
bool has_string_pattern(const Json& node);  // whether it is a String
std::string node_pattern(const Json& node, const char* kind, const std::string& path);

}  // namespace seer
