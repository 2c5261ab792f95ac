// POST /tokenize and /detokenize, GET /tokenizer_info: what clients ask a server that has the tokenizer.
#pragma once

#include <string>

#include "seer/engine.h"
#include "tools/seer/serve/json_fields.h"
#include "tools/seer/serve/prompts.h"

namespace seer::serve {

// {"prompt", add_special_tokens, parse_special} or {"messages", ... as of a chat}, return_token_strs:
// {"count", "max_model_len", "tokens", "token_strs"}. Throws ApiError (400), also for a text that must have
// more tokens than four contexts. `check` as for encode_prompts.
std::string tokenize(Json body, const Engine& engine, const ChatModel& chat, const PromptOptions& options,
                     const std::function<void()>& check = {});
// {"tokens"}: {"prompt"}, special tokens by name. Throws ApiError (400).
std::string detokenize(const Json& body, const Engine& engine);
// Names of special tokens, and the chat template's text where there is one.
std::string tokenizer_info(const Engine& engine, const ChatModel& chat);

}  // namespace seer::serve
