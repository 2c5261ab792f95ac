// Single tokens as the API shows them.
#pragma once

#include <cstdint>
#include <string>

#include "seer/tokenizer.h"

namespace seer::serve {

// Special tokens and ids beyond the vocabulary: they leave no text in an answer.
bool is_silent(const Tokenizer& tokenizer, int32_t id);

// A token's bytes as text. Bytes that are no whole characters: as "bytes:\xe2\x82", which is how completions
// of the OpenAI API show them, so that different tokens keep different names.
std::string token_text(const Tokenizer& tokenizer, int32_t id);

// Characters (code points) that begin in `bytes`.
int64_t n_characters(const std::string& bytes);

}  // namespace seer::serve
