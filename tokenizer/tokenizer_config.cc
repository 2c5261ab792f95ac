#include "tokenizer/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <set>
#include <utility>

#include "seer/error.h"
#include "tokenizer/json_file.h"

namespace seer {
namespace {

// The names in the order in which transformers adds them.
constexpr const char* kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

// Reads the flags of a token that is written as an object.
AddedToken token_of(const Json& object, const std::string& path) {
  AddedToken token;
  token.content = json_string(object, "content", path).value_or("");
  token.special = json_bool(object, "special", false, path);
  token.single_word = json_bool(object, "single_word", false, path);
  token.lstrip = json_bool(object, "lstrip", false, path);
  token.rstrip = json_bool(object, "rstrip", false, path);
  token.normalized = json_bool(object, "normalized", !token.special, path);
  return token;
}

// Reads "<s>" or {"content": "<s>", ...}. For anything else, and for an empty text, the result has no
// content.
AddedToken special_token(const Json& value, const std::string& path) {
  AddedToken token;
  if (value.is_object()) {
    token = token_of(value, path);
    if (!value.contains("normalized")) token.normalized = false;
  } else if (value.is_string()) {
    token.content = value.get<std::string>();
  }
  token.special = true;
  return token;
}

int32_t parse_id(const std::string& text, const std::string& path) {
  int32_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0)
    throw Error(ErrorKind::kFile,
                path + ": added_tokens_decoder: expected token ids as keys, found '" + text + "'");
  return id;
}

std::vector<AddedToken> tokens_of_decoder(const Json& decoder, const std::string& path) {
  if (!decoder.is_object())
    throw Error(ErrorKind::kFile, path + ": expected added_tokens_decoder to be an object");
  std::vector<AddedToken> tokens;
  for (const auto& [key, value] : decoder.items()) {
    if (!value.is_object() || !json_string(value, "content", path))
      throw Error(ErrorKind::kFile, path + ": added_tokens_decoder: the token " + key + " has no content");
    tokens.push_back(token_of(value, path));
    tokens.back().id = parse_id(key, path);
  }
  return tokens;
}

// Returns the tokens of added_tokens.json. A token is special if it is one of `special`.
std::vector<AddedToken> bare_tokens(const std::string& path, const std::vector<AddedToken>& special) {
  std::vector<AddedToken> tokens;
  const auto object = read_json_file(path);
  if (!object) return tokens;
  std::set<std::string> special_contents;
  for (const AddedToken& token : special) special_contents.insert(token.content);
  for (const auto& [content, id] : object->items()) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX)
      throw Error(ErrorKind::kFile, path + ": expected a token id for '" + content + "'");
    AddedToken token{id.get<int32_t>(), content};
    token.special = special_contents.contains(token.content);
    token.normalized = !token.special;
    tokens.push_back(std::move(token));
  }
  return tokens;
}

// Returns the special tokens that `object` names and lists.
std::vector<AddedToken> read_special_tokens(const Json& object, const std::string& path) {
  std::vector<AddedToken> tokens;
  const auto add = [&](const Json& value, bool named) {
    AddedToken token = special_token(value, path);
    token.named = named;
    if (!token.content.empty()) tokens.push_back(std::move(token));
  };
  for (const char* name : kNames)
    if (object.contains(name)) add(object[name], true);
  for (const auto& [key, value] : object.items())
    if (key.ends_with("_token") && std::find(std::begin(kNames), std::end(kNames), key) == std::end(kNames))
      add(value, true);
  const char* list = object.contains("extra_special_tokens") && !object["extra_special_tokens"].empty()
                         ? "extra_special_tokens"
                         : "additional_special_tokens";
  if (object.contains(list))
    for (const auto& item : object[list].items()) add(item.value(), object[list].is_object());
  return tokens;
}

std::optional<std::string> token_text(const Json& object, const char* key, const std::string& path) {
  const auto it = object.find(key);
  const auto text = it != object.end() && it->is_object() ? json_string(*it, "content", path)
                                                          : json_string(object, key, path);
  return text && !text->empty() ? text : std::nullopt;
}

// Takes the tokens that special_tokens_map.json names. Its list of further tokens counts only if no other
// file has one.
void merge_special_tokens_map(const std::string& path, Json* config) {
  const auto map = read_json_file(path);
  if (!map) return;
  // Only checks them, so that an error names this file.
  for (const char* name : kNames) token_text(*map, name, path);
  const bool listed =
      config->contains("extra_special_tokens") || config->contains("additional_special_tokens");
  for (const auto& [key, value] : map->items())
    if (key != "additional_special_tokens" || !listed) (*config)[key] = value;
}

}  // namespace

std::optional<std::string> TokenizerConfig::text_of(const std::string& name) const {
  const auto at = named_texts.find(name);
  return at == named_texts.end() ? std::nullopt : std::optional(at->second);
}

TokenizerConfig TokenizerConfig::load(const std::string& model_dir) {
  TokenizerConfig c;
  const std::filesystem::path dir = model_dir;
  const std::string path = (dir / "tokenizer_config.json").string();
  const auto file = read_json_file(path);
  c.found = file.has_value();
  Json object = file.value_or(Json::object());
  c.tokens_are_legacy = !object.contains("added_tokens_decoder");
  if (c.tokens_are_legacy) merge_special_tokens_map((dir / "special_tokens_map.json").string(), &object);
  for (const char* name : kNames)
    if (auto text = token_text(object, name, path)) c.named_texts.emplace(name, std::move(*text));
  c.tokenizer_class = json_string(object, "tokenizer_class", path).value_or("");
  const auto flag = [&](const char* key) -> std::optional<bool> {
    if (!object.contains(key) || object.at(key).is_null()) return std::nullopt;
    return json_bool(object, key, false, path);
  };
  c.add_bos_token = flag("add_bos_token");
  c.add_eos_token = flag("add_eos_token");
  c.legacy = flag("legacy");
  c.add_prefix_space = flag("add_prefix_space");
  c.special_tokens = read_special_tokens(object, path);
  c.added_tokens = c.tokens_are_legacy ? bare_tokens((dir / "added_tokens.json").string(), c.special_tokens)
                                       : tokens_of_decoder(object["added_tokens_decoder"], path);
  std::sort(c.added_tokens.begin(), c.added_tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return c;
}

}  // namespace seer
