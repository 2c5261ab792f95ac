#include "tools/seer/serve/token_routes.h"

#include <utility>

#include "tools/seer/format.h"
#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/token_texts.h"

namespace seer::serve {
namespace {

ApiRequest text_request(const JsonFields& fields, std::string* prompt) {
  fields.check_known({"model", "prompt", "add_special_tokens", "parse_special", "return_token_strs"}, {}, {});
  const std::optional<std::string> text = fields.string("prompt");
  if (!text)
    throw ApiError(kBadRequest, "'prompt' is missing: expected a string, or 'messages'", "prompt",
                   "missing_parameter");
  *prompt = *text;
  ApiRequest request;
  request.add_special_tokens = fields.boolean("add_special_tokens").value_or(true);
  request.parse_special = fields.boolean("parse_special");
  return request;
}

// Longer texts are refused, because this route is for prompts, and for documents to be divided into a few
// prompts. Tokenizing takes up to 200 bytes of memory for each byte of a text without word ends.
constexpr int64_t kMaxContexts = 4;

std::vector<int32_t> ids_of(Json body, const Engine& engine, const ChatModel& model,
                            const PromptOptions& options, const std::function<void()>& check) {
  const EncodeLimits limits{kMaxContexts * engine.info().ctx_size, check};
  const bool chat = body.contains("messages");
  try {
    if (chat) {
      body.erase("return_token_strs");  // all other fields are those of a chat
      return encode_chat(parse_chat(std::move(body)), engine, model, limits);
    }
    std::string prompt;
    const ApiRequest request = text_request(JsonFields(body), &prompt);
    return encode_text(request, prompt, engine, options, limits);
  } catch (const TooManyTokens& error) {
    throw ApiError(kBadRequest,
                   "expected at most " + std::to_string(kMaxContexts) + " times the context's " +
                       std::to_string(engine.info().ctx_size) + " tokens, found " +
                       std::to_string(error.n_least()) + " or more: divide the text",
                   chat ? "messages" : "prompt", "context_length_exceeded");
  }
}

Json token_or_null(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? Json() : Json(tokenizer.token_bytes(id));
}

}  // namespace

std::string tokenize(Json body, const Engine& engine, const ChatModel& chat, const PromptOptions& options,
                     const std::function<void()>& check) {
  const bool strings = JsonFields(body).boolean("return_token_strs").value_or(false);
  const std::vector<int32_t> ids = ids_of(std::move(body), engine, chat, options, check);
  Json texts;
  if (strings) texts = Json::array();
  if (strings)
    for (const int32_t id : ids) texts.push_back(token_text(engine.tokenizer(), id));
  return cli::to_text({{"count", ids.size()},
                       {"max_model_len", engine.info().ctx_size},
                       {"tokens", ids},
                       {"token_strs", std::move(texts)}});
}

std::string detokenize(const Json& body, const Engine& engine) {
  const JsonFields fields(body);
  fields.check_known({"model", "tokens"}, {}, {});
  const std::optional<std::vector<int32_t>> ids = fields.ids("tokens");
  if (!ids)
    throw ApiError(kBadRequest, "'tokens' is missing: expected an array of token ids", "tokens",
                   "missing_parameter");
  check_ids(*ids, "tokens", engine);
  return cli::to_text({{"prompt", engine.tokenizer().decode(*ids, /*skip_special=*/false)}});
}

std::string tokenizer_info(const Engine& engine, const ChatModel& chat) {
  const Tokenizer& tokenizer = engine.tokenizer();
  return cli::to_text({{"tokenizer_class", tokenizer.kind()},
                       {"bos_token", token_or_null(tokenizer, tokenizer.bos_id())},
                       {"eos_token", token_or_null(tokenizer, tokenizer.eos_id())},
                       {"chat_template", chat.chat_template ? Json(chat.chat_template->source()) : Json()}});
}

}  // namespace seer::serve
