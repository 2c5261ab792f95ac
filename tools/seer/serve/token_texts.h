// Single tokens in the form that the API shows.
#pragma once

#include <cstdint>
#include <string>

#include "seer/tokenizer.h"

namespace seer::serve {

// Returns true for special tokens and for ids beyond the vocabulary, which leave no text in an answer.
bool is_silent(const Tokenizer& tokenizer, int32_t id);

// Returns a token's bytes as text. Bytes that are no whole characters are shown as "bytes:\xe2\x82", as
// completions of the OpenAI API show them, so that different tokens keep different names.
std::string token_text(const Tokenizer& tokenizer, int32_t id);

// Returns how many characters (code points) begin in `bytes`.
int64_t n_characters(const std::string& bytes);

}  // namespace seer::serve
