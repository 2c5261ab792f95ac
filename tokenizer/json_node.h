// The nodes that normalizer and pre_tokenizer of a tokenizer.json are trees of: objects with a type.
#pragma once

#include <string>

#include "engine/base/json.h"

namespace seer {

// All throw Error{kFile} that names `path` where the node is malformed.
std::string node_type(const Json& node, const std::string& path);
const Json& node_list(const Json& node, const char* key, const std::string& path);
// "pattern": {"String": " "} or {"Regex": "..."}; Error{kUnsupported} for one of another kind than asked for.
bool has_string_pattern(const Json& node);  // whether it is of the first kind
std::string node_pattern(const Json& node, const char* kind, const std::string& path);

}  // namespace seer
