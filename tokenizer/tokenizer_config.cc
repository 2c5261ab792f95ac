#include "tokenizer/tokenizer_config.h"

#include <charconv>
#include <filesystem>
#include <utility>

#include "seer/error.h"
#include "tokenizer/json_file.h"

namespace seer {
namespace {

// "bos_token": "<s>" or {"content": "<s>", ...}.
std::optional<std::string> token_text(const nlohmann::json& object, const char* key,
                                      const std::string& path) {
  const auto it = object.find(key);
  if (it != object.end() && it->is_object()) return json_string(*it, "content", path);
  return json_string(object, key, path);
}

int32_t parse_id(const std::string& text, const std::string& path) {
  int32_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0)
    throw Error(ErrorKind::kFile,
                path + ": added_tokens_decoder: expected token ids as keys, found '" + text + "'");
  return id;
}

}  // namespace

TokenizerConfig TokenizerConfig::load(const std::string& model_dir) {
  TokenizerConfig c;
  const std::filesystem::path dir = model_dir;
  const std::string added_path = (dir / "added_tokens.json").string();
  if (const auto object = read_json_file(added_path))
    for (const auto& [content, id] : object->items()) {
      if (!id.is_number_integer() || id < 0 || id > INT32_MAX)
        throw Error(ErrorKind::kFile, added_path + ": expected a token id for '" + content + "'");
      AddedToken token{id.get<int32_t>(), content};
      token.normalized = true;
      c.bare_tokens.push_back(std::move(token));
    }

  const std::string path = (dir / "tokenizer_config.json").string();
  const auto object = read_json_file(path);
  if (!object) return c;
  c.bos_token = token_text(*object, "bos_token", path);
  c.eos_token = token_text(*object, "eos_token", path);
  const auto flag = [&](const char* key) -> std::optional<bool> {
    if (!object->contains(key) || object->at(key).is_null()) return std::nullopt;
    return json_bool(*object, key, false, path);
  };
  c.add_bos_token = flag("add_bos_token");
  c.add_eos_token = flag("add_eos_token");
  for (AddedToken& token : c.bare_tokens) {
    token.special = token.content == c.bos_token || token.content == c.eos_token;
    token.normalized = !token.special;
  }
  const auto added = object->find("added_tokens_decoder");
  if (added == object->end()) return c;
  c.bare_tokens.clear();
  if (!added->is_object())
    throw Error(ErrorKind::kFile, path + ": expected added_tokens_decoder to be an object");
  for (const auto& [key, value] : added->items()) {
    AddedToken token;
    token.id = parse_id(key, path);
    const auto content = value.is_object() ? json_string(value, "content", path) : std::nullopt;
    if (!content)
      throw Error(ErrorKind::kFile, path + ": added_tokens_decoder: the token " + key + " has no content");
    token.content = *content;
    token.special = json_bool(value, "special", false, path);
    token.single_word = json_bool(value, "single_word", false, path);
    token.lstrip = json_bool(value, "lstrip", false, path);
    token.rstrip = json_bool(value, "rstrip", false, path);
    token.normalized = json_bool(value, "normalized", !token.special, path);
    c.added_tokens.push_back(std::move(token));
  }
  return c;
}

}  // namespace seer
