// Byte-pair encodings in Hugging Face's tokenizer.json: byte-level (GPT-2, Llama 3) and with visible spaces
// and byte fallback (Llama 2).
#pragma once

#include <memory>
#include <string>

#include "engine/base/json.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace seer {

// Of the file's object; `path` is for messages. Throws Error{kFile} for a malformed file, Error{kUnsupported}
// that names the part this reader does not know.
std::unique_ptr<TextTokenizer> make_bpe(const Json& file, const std::string& path,
                                        const TokenizerConfig& config);

}  // namespace seer
