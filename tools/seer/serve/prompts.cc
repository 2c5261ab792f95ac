#include "tools/seer/serve/prompts.h"

#include <algorithm>

#include "seer/error.h"
#include "tools/seer/format.h"
#include "tools/seer/model_options.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

constexpr int64_t kCompletionTokens = 16;  // the API's default
constexpr int64_t kEndTokens = 16;         // more than any template writes after the last message

// Returns both sets of variables. The request's override the server's.
Json merged(Json variables, const Json& of_request) {
  variables.update(of_request);
  return variables;
}

// Removes a folder from a message, because clients need not know where the server keeps its files.
std::string without_folder(std::string text, const std::string& file) {
  const std::string folder = file.substr(0, file.rfind('/') + 1);
  if (folder.empty()) return text;
  for (size_t at = text.find(folder); at != std::string::npos; at = text.find(folder))
    text.erase(at, folder.size());
  return text;
}

// Returns the error for `n` tokens; `more` names what else needs room.
ApiError too_long(const ApiRequest& request, const EngineInfo& info, const std::string& n,
                  const std::string& more = "") {
  const char* field = request.chat ? "messages" : "prompt";
  return {kBadRequest,
          "this model's context has " + std::to_string(info.ctx_size) + " tokens: found " + n + " in the " +
              field + more + ". Shorten it" + cli::larger_context(info) + ".",
          field, "context_length_exceeded"};
}

}  // namespace

std::vector<int32_t> encode_chat(const ApiRequest& request, const Engine& engine, const ChatModel& chat,
                                 const EncodeLimits& limits) {
  if (!chat.chat_template)
    throw ApiError(kBadRequest,
                   "this model's files have no chat template: use /v1/completions, or start the server with "
                   "--chat-template and a Jinja file, llama2, llama3, chatml, mistral or none",
                   "messages", "no_chat_template");
  const ChatInput& input = request.input;
  ChatPrompt prompt;
  prompt.messages = cli::to_text(input.messages);
  if (!input.tools.empty()) prompt.tools = cli::to_text(input.tools);
  prompt.kwargs = cli::to_text(merged(chat.kwargs, input.kwargs));
  prompt.add_generation_prompt = input.add_generation_prompt;
  prompt.continue_final_message = input.continue_final_message;
  try {
    return engine.tokenizer().encode_chat(prompt, chat.chat_template.get(), limits);
  } catch (const TooManyTokens&) {
    throw;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    throw ApiError(kBadRequest, "'messages': " + without_folder(error.what(), chat.chat_template->name()),
                   "messages", "invalid_value");
  }
}

void check_ids(const std::vector<int32_t>& ids, const std::string& field, const Engine& engine) {
  const int64_t n_vocab = engine.model().n_vocab;
  const auto wrong = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= n_vocab; });
  if (wrong == ids.end()) return;
  refuse(field,
         "expected token ids from 0 to " + std::to_string(n_vocab - 1) + ", found " + std::to_string(*wrong) +
             " at " + std::to_string(wrong - ids.begin()),
         "invalid_value");
}

std::vector<int32_t> encode_text(const ApiRequest& request, const std::string& text, const Engine& engine,
                                 const PromptOptions& options, const EncodeLimits& limits) {
  return engine.tokenizer().encode(text, request.add_special_tokens,
                                   request.parse_special.value_or(options.parse_special), limits);
}

std::string end_of(const std::vector<int32_t>& prompt, const Tokenizer& tokenizer) {
  std::string end;
  const auto n = std::min<int64_t>(kEndTokens, static_cast<int64_t>(prompt.size()));
  for (auto id = prompt.end() - n; id != prompt.end(); ++id) end += tokenizer.token_bytes(*id);
  return end;
}

namespace {

EncodedPrompt encode_prompt(const ApiRequest& request, const PromptInput& prompt, const Engine& engine,
                            const PromptOptions& options, const EncodeLimits& limits) {
  EncodedPrompt one;
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    one.ids = encode_text(request, *text, engine, options, limits);
    if (request.echo) one.text = *text;
  } else {
    one.ids = std::get<std::vector<int32_t>>(prompt);
    check_ids(one.ids, "prompt", engine);
    if (request.echo) one.text = engine.tokenizer().decode(one.ids, request.skip_special_tokens);
  }
  if (one.ids.empty())
    throw ApiError(kBadRequest, "'prompt' is empty: expected at least one token", "prompt", "invalid_value");
  return one;
}

}  // namespace

std::vector<EncodedPrompt> encode_prompts(const ApiRequest& request, const Engine& engine,
                                          const ChatModel& chat, const PromptOptions& options,
                                          const std::function<void()>& check) {
  const EncodeLimits limits{engine.info().ctx_size, check};
  try {
    if (request.chat) return {{encode_chat(request, engine, chat, limits), ""}};
    std::vector<EncodedPrompt> encoded;
    for (const PromptInput& prompt : request.prompts)
      encoded.push_back(encode_prompt(request, prompt, engine, options, limits));
    return encoded;
  } catch (const TooManyTokens& error) {
    throw too_long(request, engine.info(), std::to_string(error.n_least()) + " or more");
  }
}

int64_t token_limit(const ApiRequest& request, int64_t n_prompt, const EngineInfo& info) {
  const std::string n = std::to_string(n_prompt);
  const int64_t room = info.ctx_size - n_prompt;
  if (room < (request.max_tokens == 0 ? 0 : 1)) throw too_long(request, info, n);
  if (!request.max_tokens) return request.chat ? room : std::min(kCompletionTokens, room);
  if (*request.max_tokens > room)
    throw too_long(request, info, n, " and " + std::to_string(*request.max_tokens) + " asked for");
  return *request.max_tokens;
}

namespace {

// Returns the part of a request that all of its choices share.
GenerateRequest common_request(const ApiRequest& request, const Engine& engine) {
  GenerateRequest common;
  common.stop = request.stop;
  common.stop_token_ids = request.stop_token_ids;
  check_ids(common.stop_token_ids, "stop_token_ids", engine);
  std::vector<int32_t> biased;
  for (const auto& [id, bias] : request.logit_bias) biased.push_back(id);
  check_ids(biased, "logit_bias", engine);
  common.ignore_eos = request.ignore_eos;
  common.min_new_tokens = request.min_tokens;
  common.n_logprobs = request.n_logprobs;
  if (request.echo) common.n_prompt_logprobs = request.n_logprobs;
  return common;
}

// Refuses a rule that the model's gates cannot follow.
template <class Rule>
void check_field(const std::optional<Rule>& rule, const Engine& engine, const char* name) {
  if (!rule) return;
  try {
    check_rule(*rule, engine.model());
  } catch (const Error& error) {
    refuse(name, error.what(), "invalid_value");
  }
}

}  // namespace

std::vector<GenerateRequest> generate_requests(const ApiRequest& request,
                                               const std::vector<EncodedPrompt>& prompts,
                                               const Engine& engine, const Standards& standards) {
  SamplingParams standard = engine.model().default_sampling;
  if (standards.temperature) standard.temperature = *standards.temperature;
  std::vector<GenerateRequest> requests;
  GenerateRequest one = common_request(request, engine);
  check_field(request.sparse, engine, "sparse");
  check_field(request.sparse_decode, engine, "sparse_decode");
  one.sparse = request.sparse ? request.sparse : standards.sparse;
  one.sparse_decode = request.sparse_decode ? request.sparse_decode : standards.sparse_decode;
  for (const EncodedPrompt& prompt : prompts) {
    one.prompt = prompt.ids;
    one.max_new_tokens = token_limit(request, static_cast<int64_t>(prompt.ids.size()), engine.info());
    if (one.min_new_tokens > one.max_new_tokens)
      refuse("min_tokens",
             "expected at most the " + std::to_string(one.max_new_tokens) +
                 " tokens that may follow, found " + std::to_string(one.min_new_tokens),
             "invalid_value");
    for (int64_t i = 0; i < request.n; ++i) {
      one.sampling = request.sampling(standard, i);
      one.sampling.validate();
      requests.push_back(one);
    }
  }
  return requests;
}

}  // namespace seer::serve
