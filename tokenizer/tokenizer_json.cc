#include "tokenizer/tokenizer_json.h"

#include "seer/error.h"
#include "tokenizer/json_file.h"

namespace seer {
namespace {

[[noreturn]] void malformed(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::kFile,
              path + ": " + what + ". Expected a tokenizer.json of Hugging Face tokenizers.");
}

[[noreturn]] void unsupported(const std::string& path, const std::string& what, const char* expected) {
  throw Error(ErrorKind::kUnsupported, path + ": " + what + " is not supported; expected " + expected);
}

const Json* member(const Json& node, const char* key) {
  const auto it = node.is_object() ? node.find(key) : node.end();
  return it == node.end() || it->is_null() ? nullptr : &*it;
}

std::string type_of(const Json& node, const std::string& path) {
  if (!node.is_object()) malformed(path, "expected an object with a type");
  return json_string(node, "type", path).value_or("");
}

int32_t id_of(const Json& value, const std::string& path) {
  if (!value.is_number_integer() || value < 0 || value > INT32_MAX)
    malformed(path, "expected a token id, found " + value.dump());
  return value.get<int32_t>();
}

// Returns the one id of a special token in a template.
int32_t template_id(const Json& node, const Json& item, const std::string& path) {
  const auto name = json_string(item["SpecialToken"], "id", path);
  const Json* tokens = member(node, "special_tokens");
  const Json* token = tokens != nullptr && name ? member(*tokens, name->c_str()) : nullptr;
  const Json* ids = token != nullptr ? member(*token, "ids") : nullptr;
  if (ids == nullptr || !ids->is_array() || ids->empty())
    malformed(path, "a template names an unknown special token");
  if (ids->size() != 1) unsupported(path, "a template with a special token of several ids", "one id each");
  return id_of((*ids)[0], path);
}

// Adds one token before or after the text.
void set_id(int32_t* place, int32_t id, const std::string& path) {
  if (*place >= 0)
    unsupported(path, "a template with several special tokens in a row", "one before and one after the text");
  *place = id;
}

void read_template(const Json& node, const std::string& path, PostProcessor* post) {
  const Json* single = member(node, "single");
  if (single == nullptr || !single->is_array()) malformed(path, "expected single to be a list");
  bool before = true;
  for (const Json& item : *single) {
    if (const Json* text = member(item, "Sequence")) {
      if (!before || !text->is_object() || text->value("id", Json()) != "A")
        unsupported(path, "a template with a second text or the text twice", "the text $A once");
      before = false;
      continue;
    }
    if (member(item, "SpecialToken") == nullptr) malformed(path, "expected SpecialToken or Sequence");
    set_id(before ? &post->bos_id : &post->eos_id, template_id(node, item, path), path);
  }
  if (before) unsupported(path, "a template without the text", "the text $A once");
}

// Returns the id of a pair such as ["<s>", 1].
int32_t pair_id(const Json& node, const char* key, const std::string& path) {
  const Json* pair = member(node, key);
  if (pair == nullptr || !pair->is_array() || pair->size() != 2)
    malformed(path, std::string("expected ") + key + " to be a token and its id");
  return id_of((*pair)[1], path);
}

void read_post_node(const Json& node, const std::string& path, PostProcessor* post) {
  const std::string type = type_of(node, path);
  if (type == "Sequence") {
    const Json* list = member(node, "processors");
    if (list == nullptr || !list->is_array()) malformed(path, "expected processors to be a list");
    for (const Json& part : *list) read_post_node(part, path, post);
    return;
  }
  if (type == "ByteLevel") return;  // it only adjusts offsets
  if (post->found) unsupported(path, "a Sequence of two parts that add tokens", "one");
  post->found = true;
  if (type == "TemplateProcessing") {
    read_template(node, path, post);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    set_id(&post->bos_id, pair_id(node, "cls", path), path);
    set_id(&post->eos_id, pair_id(node, "sep", path), path);
  } else {
    unsupported(path, "type '" + type + "'",
                "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel or a Sequence of them");
  }
}

}  // namespace

const Json& bpe_model(const Json& file, const std::string& path) {
  const Json* model = member(file, "model");
  if (model == nullptr || !model->is_object()) malformed(path, "the object model is missing");
  const std::string type = json_string(*model, "type", path).value_or("BPE");
  if (type != "BPE") unsupported(path, "the model type '" + type + "'", "BPE");
  const Json* dropout = member(*model, "dropout");
  if (dropout != nullptr && *dropout != 0) unsupported(path, "dropout", "none");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    if (!json_string(*model, key, path).value_or("").empty()) unsupported(path, key, "none");
  return *model;
}

std::vector<AddedToken> read_added_tokens(const Json& file, const std::string& path) {
  std::vector<AddedToken> tokens;
  const Json* list = member(file, "added_tokens");
  if (list == nullptr) return tokens;
  if (!list->is_array()) malformed(path, "expected added_tokens to be a list");
  for (const Json& node : *list) {
    const Json* id = member(node, "id");
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

PostProcessor read_post_processor(const Json& file, const std::string& path) {
  PostProcessor post;
  const Json* node = member(file, "post_processor");
  if (node != nullptr) read_post_node(*node, path + ": post_processor", &post);
  return post;
}

}  // namespace seer
