// tokenizer_config.json, special_tokens_map.json and added_tokens.json: what a checkpoint's folder says
// besides the vocabulary.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"

namespace seer {

// Read as transformers 5 reads them.
struct TokenizerConfig {
  bool found = false;  // a tokenizer_config.json is there
  // The texts of bos_token, eos_token, unk_token and the other tokens that transformers has a name for, by
  // that name: what a chat template may use as variables. A name without a text is left out.
  std::map<std::string, std::string> named_texts;
  std::optional<bool> add_bos_token, add_eos_token;
  // Of a class that reads a tokenizer.model in its own way.
  std::string tokenizer_class;
  std::optional<bool> legacy, add_prefix_space;
  // Of added_tokens_decoder, in the order of their ids: they replace tokenizer.json's. Where that is missing,
  // those of added_tokens.json, which has ids alone and does not count for an id that tokenizer.json lists.
  std::vector<AddedToken> added_tokens;
  bool tokens_are_legacy = false;
  // The tokens that have a name (bos_token, pad_token, image_token, ...), then the others of
  // extra_special_tokens or additional_special_tokens. special_tokens_map.json counts before
  // tokenizer_config.json, unless that has an added_tokens_decoder.
  std::vector<AddedToken> special_tokens;

  // Every field is absent where the files are. Throws Error{kFile} if one is malformed.
  static TokenizerConfig load(const std::string& model_dir);

  std::optional<std::string> text_of(const std::string& name) const;  // of named_texts
};

// Ids may be this far beyond the vocabulary's size: room for padding and reserved ids, and no more memory
// than that.
inline constexpr int64_t kMaxIdGap = 65536;

}  // namespace seer
