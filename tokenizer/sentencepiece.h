// A SentencePiece model file (tokenizer.model), through the sentencepiece library.
#pragma once

#include <memory>
#include <string>

#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace seer {

// Throws Error{kFile} where the file is no SentencePiece model.
std::unique_ptr<TextTokenizer> load_sentencepiece(const std::string& path, const TokenizerConfig& config);

}  // namespace seer
