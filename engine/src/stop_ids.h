// Which ids end a generation, from all files of a checkpoint that say so.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/config.h"
#include "models/generation_config.h"
#include "seer/engine.h"
#include "tokenizer/tokenizer.h"

namespace seer {

// The union, each id once, in this order: generation_config.json's and config.json's eos_token_id, the
// tokenizer's EOS, and the ends of a turn that the chat template writes. Ids beyond the model's vocabulary
// are left out, since no logit is theirs. The EOS that a family of models has by default, without any file
// that says so, counts only if nothing else does and there is no generation_config.json: that is when
// transformers uses it. `tokenizer` may be null, and `chat_template` empty.
std::vector<StopId> find_stop_ids(const GenerationConfig& generation, const ModelConfig& config,
                                  const TextTokenizer* tokenizer, std::string_view chat_template);

// The names of tokens that end an assistant's turn in known chat formats, if the template has the name in its
// text and the vocabulary has it as an added token.
std::vector<std::string> ends_of_turn(const TextTokenizer& tokenizer, std::string_view chat_template);

}  // namespace seer
