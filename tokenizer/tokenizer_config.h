// tokenizer_config.json and added_tokens.json: what a checkpoint's folder says beside the vocabulary.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"

namespace seer {

struct TokenizerConfig {
  std::optional<std::string> bos_token, eos_token;  // their texts
  std::optional<bool> add_bos_token, add_eos_token;
  std::vector<AddedToken> added_tokens;  // of added_tokens_decoder; they replace tokenizer.json's
  // Of added_tokens.json, which has ids alone: for where nothing else lists the token, as transformers reads
  // it.
  std::vector<AddedToken> bare_tokens;

  // Every field absent where the files are. Throws Error{kFile} where one is malformed.
  static TokenizerConfig load(const std::string& model_dir);
};

// Ids may be this far beyond the vocabulary's size: room for padding and reserved ids, and no more memory
// than that.
inline constexpr int64_t kMaxIdGap = 65536;

}  // namespace seer
