#include "tokenizer/json_node.h"

#include "seer/error.h"
#include "tokenizer/json_file.h"

namespace seer {

std::string node_type(const Json& node, const std::string& path) {
  if (!node.is_object()) throw Error(ErrorKind::kFile, path + ": expected an object with a type");
  const auto type = json_string(node, "type", path);
  if (!type) throw Error(ErrorKind::kFile, path + ": an object has no type");
  return *type;
}

const Json& node_list(const Json& node, const char* key, const std::string& path) {
  const auto it = node.find(key);
  if (it == node.end() || !it->is_array())
    throw Error(ErrorKind::kFile, path + ": expected " + key + " to be a list");
  return *it;
}

bool has_string_pattern(const Json& node) {
  const auto it = node.find("pattern");
  return it != node.end() && it->is_object() && it->contains("String");
}

std::string node_pattern(const Json& node, const char* kind, const std::string& path) {
  const auto it = node.find("pattern");
  const auto text = it != node.end() && it->is_object() ? json_string(*it, kind, path) : std::nullopt;
  if (!text || text->empty())
    throw Error(ErrorKind::kUnsupported,
                path + ": " + node_type(node, path) + " needs a pattern of kind " + kind);
  return *text;
}

}  // namespace seer
