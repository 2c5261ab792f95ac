#include "tokenizer/tokenizer_json.h"

#include "seer/error.h"
#include "tokenizer/json_file.h"

namespace seer {
namespace {

using nlohmann::json;

[[noreturn]] void malformed(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::kFile,
              path + ": " + what + ". Expected a tokenizer.json of Hugging Face tokenizers.");
}

[[noreturn]] void unsupported(const std::string& path, const std::string& what, const char* expected) {
  throw Error(ErrorKind::kUnsupported, path + ": " + what + " is not supported; expected " + expected);
}

const json* member(const json& node, const char* key) {
  const auto it = node.is_object() ? node.find(key) : node.end();
  return it == node.end() || it->is_null() ? nullptr : &*it;
}

std::string type_of(const json& node, const std::string& path) {
  if (!node.is_object()) malformed(path, "expected an object with a type");
  return json_string(node, "type", path).value_or("");
}

int32_t id_of(const json& value, const std::string& path) {
  if (!value.is_number_integer() || value < 0 || value > INT32_MAX)
    malformed(path, "expected a token id, found " + value.dump());
  return value.get<int32_t>();
}

// The one id of a special token in a template.
int32_t template_id(const json& node, const json& item, const std::string& path) {
  const auto name = json_string(item["SpecialToken"], "id", path);
  const json* tokens = member(node, "special_tokens");
  const json* token = tokens != nullptr && name ? member(*tokens, name->c_str()) : nullptr;
  const json* ids = token != nullptr ? member(*token, "ids") : nullptr;
  if (ids == nullptr || !ids->is_array() || ids->empty())
    malformed(path, "a template names an unknown special token");
  if (ids->size() != 1) unsupported(path, "a template with a special token of several ids", "one id each");
  return id_of((*ids)[0], path);
}

void read_template(const json& node, const std::string& path, PostProcessor* post) {
  const json* single = member(node, "single");
  if (single == nullptr || !single->is_array()) malformed(path, "expected single to be a list");
  bool before = true;
  for (const json& item : *single) {
    if (member(item, "Sequence") != nullptr) {
      before = false;
      continue;
    }
    if (member(item, "SpecialToken") == nullptr) malformed(path, "expected SpecialToken or Sequence");
    int32_t& id = before ? post->bos_id : post->eos_id;
    if (id >= 0)
      unsupported(path, "a template with several special tokens in a row",
                  "one before and one after the text");
    id = template_id(node, item, path);
  }
}

void read_post_node(const json& node, const std::string& path, PostProcessor* post) {
  const std::string type = type_of(node, path);
  if (type == "Sequence") {
    const json* list = member(node, "processors");
    if (list == nullptr || !list->is_array()) malformed(path, "expected processors to be a list");
    for (const json& part : *list) read_post_node(part, path, post);
  } else if (type == "TemplateProcessing") {
    read_template(node, path, post);
  } else if (type != "ByteLevel") {  // which only adjusts offsets
    unsupported(path, "type '" + type + "'", "TemplateProcessing, ByteLevel or a Sequence of them");
  }
}

bool decoder_node_strips(const json& node, const std::string& path) {
  const std::string type = type_of(node, path);
  if (type == "Sequence") {
    const json* list = member(node, "decoders");
    if (list == nullptr || !list->is_array()) malformed(path, "expected decoders to be a list");
    bool strips = false;
    for (const json& part : *list) strips = decoder_node_strips(part, path) || strips;
    return strips;
  }
  if (type == "Strip") {
    const json *content = member(node, "content"), *start = member(node, "start"),
               *stop = member(node, "stop");
    if (content == nullptr || *content != " " || start == nullptr || *start != 1 ||
        (stop != nullptr && *stop != 0))
      unsupported(path, "Strip of anything but one space at the start", "content ' ', start 1, stop 0");
    return true;
  }
  if (type == "Metaspace") {
    const bool add_prefix = json_bool(node, "add_prefix_space", true, path);
    return json_string(node, "prepend_scheme", path).value_or(add_prefix ? "always" : "never") != "never";
  }
  if (type == "Replace") {
    const json* pattern = member(node, "pattern");
    const json* text = pattern == nullptr ? nullptr : member(*pattern, "String");
    const json* content = member(node, "content");
    if (text == nullptr || *text != "\xE2\x96\x81" || content == nullptr || *content != " ")
      unsupported(path, "Replace of anything but U+2581 by a space", "that");
    return false;
  }
  if (type != "ByteLevel" && type != "ByteFallback" && type != "Fuse")
    unsupported(path, "type '" + type + "'",
                "ByteLevel, Metaspace, or a Sequence of Replace, ByteFallback, Fuse and Strip");
  return false;
}

}  // namespace

const json& bpe_model(const json& file, const std::string& path) {
  const json* model = member(file, "model");
  if (model == nullptr || !model->is_object()) malformed(path, "the object model is missing");
  const std::string type = json_string(*model, "type", path).value_or("BPE");
  if (type != "BPE") unsupported(path, "the model type '" + type + "'", "BPE");
  const json* dropout = member(*model, "dropout");
  if (dropout != nullptr && *dropout != 0) unsupported(path, "dropout", "none");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!json_string(*model, key, path).value_or("").empty()) unsupported(path, key, "none");
  return *model;
}

std::vector<AddedToken> read_added_tokens(const json& file, const std::string& path) {
  std::vector<AddedToken> tokens;
  const json* list = member(file, "added_tokens");
  if (list == nullptr) return tokens;
  if (!list->is_array()) malformed(path, "expected added_tokens to be a list");
  for (const json& node : *list) {
    const json* id = member(node, "id");
    const auto content = node.is_object() ? json_string(node, "content", path) : std::nullopt;
    if (id == nullptr || !content) malformed(path, "an added token lacks its id or content");
    AddedToken token{id_of(*id, path), *content};
    token.special = json_bool(node, "special", false, path);
    token.single_word = json_bool(node, "single_word", false, path);
    token.lstrip = json_bool(node, "lstrip", false, path);
    token.rstrip = json_bool(node, "rstrip", false, path);
    token.normalized = json_bool(node, "normalized", !token.special, path);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

PostProcessor read_post_processor(const json& file, const std::string& path) {
  PostProcessor post;
  const json* node = member(file, "post_processor");
  if (node != nullptr) read_post_node(*node, path + ": post_processor", &post);
  return post;
}

bool decoder_strips_space(const json& file, const std::string& path) {
  const json* node = member(file, "decoder");
  return node != nullptr && decoder_node_strips(*node, path + ": decoder");
}

}  // namespace seer
