#include "tools/seer/serve/prompts.h"

#include <algorithm>

#include "seer/error.h"
#include "tools/seer/conversation.h"
#include "tools/seer/model_options.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

constexpr int64_t kCompletionTokens = 16;  // the API's default

std::vector<int32_t> encode_chat(const ApiRequest& request, const Engine& engine,
                                 const std::string& chat_template) {
  const Tokenizer& tokenizer = engine.tokenizer();
  if (chat_template.empty() && tokenizer.chat_template().empty())
    throw ApiError(
        kBadRequest,
        "this model has no chat template that is known here: use /v1/completions, or start the server with "
        "--chat-template llama2, llama3, chatml, mistral or none",
        "messages", "no_chat_template");
  try {
    return cli::encode_messages(tokenizer, request.messages, chat_template);
  } catch (const Error& error) {
    throw ApiError(kBadRequest, std::string("'messages': ") + error.what(), "messages", "invalid_value");
  }
}

void check_ids(const std::vector<int32_t>& ids, int64_t n_vocab) {
  const auto wrong = std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return id >= n_vocab; });
  if (wrong == ids.end()) return;
  throw ApiError(kBadRequest,
                 "'prompt': expected token ids from 0 to " + std::to_string(n_vocab - 1) + ", found " +
                     std::to_string(*wrong) + " at " + std::to_string(wrong - ids.begin()),
                 "prompt", "invalid_value");
}

}  // namespace

std::vector<EncodedPrompt> encode_prompts(const ApiRequest& request, const Engine& engine,
                                          const std::string& chat_template) {
  if (request.chat) return {{encode_chat(request, engine, chat_template), ""}};
  std::vector<EncodedPrompt> encoded;
  for (const PromptInput& prompt : request.prompts) {
    EncodedPrompt one;
    if (const auto* text = std::get_if<std::string>(&prompt)) {
      one.ids = engine.tokenizer().encode(*text);
      if (request.echo) one.text = *text;
    } else {
      one.ids = std::get<std::vector<int32_t>>(prompt);
      check_ids(one.ids, engine.model().n_vocab);
      if (request.echo) one.text = engine.tokenizer().decode(one.ids);
    }
    if (one.ids.empty())
      throw ApiError(kBadRequest, "'prompt' is empty: expected at least one token", "prompt",
                     "invalid_value");
    encoded.push_back(std::move(one));
  }
  return encoded;
}

int64_t token_limit(const ApiRequest& request, int64_t n_prompt, const EngineInfo& info) {
  const int64_t ctx_size = info.ctx_size;
  const auto too_long = [&](const std::string& asked) {
    return ApiError(kBadRequest,
                    "this model's context has " + std::to_string(ctx_size) + " tokens: found " +
                        std::to_string(n_prompt) + " in the " + (request.chat ? "messages" : "prompt") +
                        asked + ". Shorten it" + cli::larger_context(info) + ".",
                    request.chat ? "messages" : "prompt", "context_length_exceeded");
  };
  const int64_t room = ctx_size - n_prompt;
  if (room < (request.max_tokens == 0 ? 0 : 1)) throw too_long("");
  if (!request.max_tokens) return request.chat ? room : std::min(kCompletionTokens, room);
  if (*request.max_tokens > room)
    throw too_long(" and " + std::to_string(*request.max_tokens) + " asked for");
  return *request.max_tokens;
}

std::vector<GenerateRequest> generate_requests(const ApiRequest& request,
                                               const std::vector<EncodedPrompt>& prompts,
                                               const Engine& engine,
                                               const std::optional<SparseRule>& standard_rule) {
  std::vector<GenerateRequest> requests;
  for (const EncodedPrompt& prompt : prompts) {
    GenerateRequest one;
    one.prompt = prompt.ids;
    one.max_new_tokens = token_limit(request, static_cast<int64_t>(prompt.ids.size()), engine.info());
    one.stop = request.stop;
    one.ignore_eos = request.ignore_eos;
    one.sparse = request.sparse ? request.sparse : standard_rule;
    for (int64_t i = 0; i < request.n; ++i) {
      one.sampling = request.sampling(engine.model().default_sampling, i);
      one.sampling.validate();
      requests.push_back(one);
    }
  }
  return requests;
}

}  // namespace seer::serve
