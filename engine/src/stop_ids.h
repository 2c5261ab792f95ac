// Finds the ids that end a generation, in all files of a checkpoint that name them.
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

// Returns the union, each id once, in this order: eos_token_id of generation_config.json and of config.json,
// the tokenizer's EOS, and the tokens with which the chat template ends a turn. Ids beyond the model's
// vocabulary are left out, because they have no logit. The default EOS of the model's family counts only if
// there is no other id and no generation_config.json, as in transformers. `tokenizer` may be null, and
// `chat_template` empty.
std::vector<StopId> find_stop_ids(const GenerationConfig& generation, const ModelConfig& config,
                                  const TextTokenizer* tokenizer, std::string_view chat_template);

// Returns the names of tokens that end an assistant's turn in known chat formats, if the template's text has
// the name and the vocabulary has it as an added token.
std::vector<std::string> ends_of_turn(const TextTokenizer& tokenizer, std::string_view chat_template);

}  // namespace seer
