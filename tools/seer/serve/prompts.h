// From a request to what the engine is asked for: token ids, and room for the answer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/serve/answers/answer_format.h"
#include "tools/seer/serve/api_request.h"

namespace seer::serve {

// How messages become a prompt, and how answers are read.
struct ChatModel {
  std::shared_ptr<const ChatTemplate> chat_template;  // null: there is none, and chats are refused
  Json kwargs = Json::object();                       // variables that the server gives it
  AnswerFormat format;
};

struct EncodedPrompt {
  std::vector<int32_t> ids;
  std::string text;  // where the answer echoes it
};

struct PromptOptions {
  bool parse_special = true;  // special tokens written out in prompts of completions are recognised
};

// Throws ApiError (400) for ids out of range, an empty prompt, a chat that the template does not take, or a
// text that is longer than any which the context could hold: that is refused without tokenizing it
// (context_length_exceeded). `check`, if there is one, is called every few milliseconds on this thread while
// templates and tokenizer work; what it throws is passed on, but for an Error of another kind than
// kCancelled.
std::vector<EncodedPrompt> encode_prompts(const ApiRequest& request, const Engine& engine,
                                          const ChatModel& chat, const PromptOptions& options,
                                          const std::function<void()>& check = {});

// Ids of one text, as encode_prompts; empty for an empty text. Both pass TooManyTokens on.
std::vector<int32_t> encode_text(const ApiRequest& request, const std::string& text, const Engine& engine,
                                 const PromptOptions& options, const EncodeLimits& limits);
// Ids of a chat, as encode_prompts.
std::vector<int32_t> encode_chat(const ApiRequest& request, const Engine& engine, const ChatModel& chat,
                                 const EncodeLimits& limits);

// How the prompt's text ends, special tokens by name: enough to see what the answer begins in.
std::string end_of(const std::vector<int32_t>& prompt, const Tokenizer& tokenizer);

// Throws ApiError (400) for ids beyond the model's vocabulary.
void check_ids(const std::vector<int32_t>& ids, const std::string& field, const Engine& engine);

// Tokens to generate at most after a prompt of `n_prompt`; throws ApiError (400, context_length_exceeded)
// where prompt and answer do not fit.
int64_t token_limit(const ApiRequest& request, int64_t n_prompt, const EngineInfo& info);

// One for each choice: those of the first prompt first. `standard_temperature`: of requests that name none;
// absent: the model's.
std::vector<GenerateRequest> generate_requests(const ApiRequest& request,
                                               const std::vector<EncodedPrompt>& prompts,
                                               const Engine& engine,
                                               const std::optional<SparseRule>& standard_rule,
                                               const std::optional<double>& standard_temperature);

}  // namespace seer::serve
