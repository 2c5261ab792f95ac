// The facts about a checkpoint's tokens besides the vocabulary: tokenizer_config.json,
// special_tokens_map.json and added_tokens.json.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"

namespace seer {

// The settings, read as transformers 5 reads them.
struct TokenizerConfig {
  bool found = false;  // a tokenizer_config.json is there
  // The texts of bos_token, eos_token, unk_token and the other tokens that transformers has a name for, by
  // that name. A chat template may use them as variables. A name without a text is left out.
  std::map<std::string, std::string> named_texts;
  std::optional<bool> add_bos_token, add_eos_token;
  // Settings of tokenizer classes that read a tokenizer.model in their own way.
  std::string tokenizer_class;
  std::optional<bool> legacy, add_prefix_space;
  // The tokens of added_tokens_decoder, in the order of their ids; they replace those of tokenizer.json. If
  // that is missing, they are those of added_tokens.json, which has only ids and does not count for an id
  // that tokenizer.json lists.
  std::vector<AddedToken> added_tokens;
  bool tokens_are_legacy = false;
  // The tokens that have a name (bos_token, pad_token, image_token, ...), then the others of
  // extra_special_tokens or additional_special_tokens. special_tokens_map.json takes precedence over
  // tokenizer_config.json, unless that has an added_tokens_decoder.
  std::vector<AddedToken> special_tokens;

  // Reads the files. Every field is absent if its file is. Throws Error{kFile} if one is malformed.
  static TokenizerConfig load(const std::string& model_dir);

  std::optional<std::string> text_of(const std::string& name) const;  // from named_texts
};

// Ids may be this far beyond the vocabulary's size. This leaves room for padding and reserved ids, and bounds
// the memory for them.
inline constexpr int64_t kMaxIdGap = 65536;

}  // namespace seer
