// Byte-pair encodings in Hugging Face's tokenizer.json: the byte-level kind (GPT-2, Llama 3), and the kind
// with visible spaces and byte fallback (Llama 2).
#pragma once

#include <memory>
#include <string>

#include "engine/base/json.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace seer {

// Makes a tokenizer of the file's object; `path` is for messages. Throws Error{kFile} for a malformed file,
// and Error{kUnsupported} that names the part which is not supported here.
std::unique_ptr<TextTokenizer> make_bpe(const Json& file, const std::string& path,
                                        const TokenizerConfig& config);

}  // namespace seer
