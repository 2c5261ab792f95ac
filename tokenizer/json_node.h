// The nodes that normalizer and pre_tokenizer of a tokenizer.json are trees of: objects with a type.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace seer {

// All throw Error{kFile} that names `path` where the node is malformed.
std::string node_type(const nlohmann::json& node, const std::string& path);
const nlohmann::json& node_list(const nlohmann::json& node, const char* key, const std::string& path);
// "pattern": {"String": " "} or {"Regex": "..."}; Error{kUnsupported} for one of another kind than asked for.
bool has_string_pattern(const nlohmann::json& node);  // whether it is of the first kind
std::string node_pattern(const nlohmann::json& node, const char* kind, const std::string& path);

}  // namespace seer
