// Tokenizers of SentencePiece model files (tokenizer.model), through the sentencepiece library.
#pragma once

#include <memory>
#include <string>

#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace seer {

// Makes a tokenizer of the file's bytes; `path` is for messages. Throws Error{kFile} if they are no
// SentencePiece model.
std::unique_ptr<TextTokenizer> make_sentencepiece(const std::string& model, const std::string& path,
                                                  const TokenizerConfig& config);

}  // namespace seer
