// Turns a request into the engine's input: token ids, and a limit for the answer.
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

// The settings that make a prompt of messages and read the answers.
struct ChatModel {
  std::shared_ptr<const ChatTemplate> chat_template;  // null if there is none, in which case chats are
                                                      // refused
  Json kwargs = Json::object();                       // variables that the server gives the template
  AnswerFormat format;
};

struct EncodedPrompt {
  std::vector<int32_t> ids;
  std::string text;  // the prompt's text if the answer echoes it
};

struct PromptOptions {
  bool parse_special = true;  // whether special tokens written out in prompts of completions are recognised
};

// Throws ApiError (400) for ids out of range, an empty prompt, a chat that the template does not take, and a
// text longer than any that the context could hold, which is refused without tokenizing it
// (context_length_exceeded). If `check` is set, it is called every few milliseconds on this thread while
// templates and tokenizer work. Errors that it throws are passed on, except for an Error of another kind than
// kCancelled.
std::vector<EncodedPrompt> encode_prompts(const ApiRequest& request, const Engine& engine,
                                          const ChatModel& chat, const PromptOptions& options,
                                          const std::function<void()>& check = {});

// Returns the ids of one text, as encode_prompts does; empty for an empty text. This and encode_chat() pass
// TooManyTokens on.
std::vector<int32_t> encode_text(const ApiRequest& request, const std::string& text, const Engine& engine,
                                 const PromptOptions& options, const EncodeLimits& limits);
// Returns the ids of a chat, as encode_prompts does.
std::vector<int32_t> encode_chat(const ApiRequest& request, const Engine& engine, const ChatModel& chat,
                                 const EncodeLimits& limits);

// Returns the end of the prompt's text, special tokens by name. It is long enough to show whether the answer
// begins inside its thinking.
std::string end_of(const std::vector<int32_t>& prompt, const Tokenizer& tokenizer);

// Throws ApiError (400) for ids beyond the model's vocabulary.
void check_ids(const std::vector<int32_t>& ids, const std::string& field, const Engine& engine);

// Returns the largest number of tokens to generate after a prompt of `n_prompt`. Throws ApiError (400,
// context_length_exceeded) if prompt and answer do not fit.
int64_t token_limit(const ApiRequest& request, int64_t n_prompt, const EngineInfo& info);

// The server's values for requests that do not name their own. If a value is absent, the gates' own rule or
// the model's own temperature is used.
struct Standards {
  std::optional<SparseRule> sparse;
  std::optional<SparseDecodeRule> sparse_decode;
  std::optional<double> temperature;
};

// Returns one request for each choice, beginning with those of the first prompt.
std::vector<GenerateRequest> generate_requests(const ApiRequest& request,
                                               const std::vector<EncodedPrompt>& prompts,
                                               const Engine& engine, const Standards& standards);

}  // namespace seer::serve
