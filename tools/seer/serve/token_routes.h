// The routes POST /tokenize and /detokenize and GET /tokenizer_info, for clients that ask a server for its
// tokenizer's work.
#pragma once

#include <string>

#include "seer/engine.h"
#include "tools/seer/serve/json_fields.h"
#include "tools/seer/serve/prompts.h"

namespace seer::serve {

// Takes {"prompt", add_special_tokens, parse_special} or {"messages", ... as of a chat}, with
// return_token_strs. Returns {"count", "max_model_len", "tokens", "token_strs"}. Throws ApiError (400), also
// for a text that must have more tokens than four contexts. `check` is as for encode_prompts.
std::string tokenize(Json body, const Engine& engine, const ChatModel& chat, const PromptOptions& options,
                     const std::function<void()>& check = {});
// Takes {"tokens"} and returns {"prompt"}, special tokens by name. Throws ApiError (400).
std::string detokenize(const Json& body, const Engine& engine);
// Returns the names of the special tokens, and the chat template's text if there is one.
std::string tokenizer_info(const Engine& engine, const ChatModel& chat);

}  // namespace seer::serve
