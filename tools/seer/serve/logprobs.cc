#include "tools/seer/serve/logprobs.h"

#include <algorithm>
#include <utility>

#include "tools/seer/serve/token_texts.h"

namespace seer::serve {
namespace {

constexpr double kLeast = -9999.0;  // JSON has no infinity; OpenAI's API sends this number instead

double shown(float logprob) { return std::max(static_cast<double>(logprob), kLeast); }

OrderedJson chat_token(const Tokenizer& tokenizer, const TokenLogprob& one) {
  const std::string bytes = tokenizer.token_bytes(one.id);
  OrderedJson numbers = OrderedJson::array();
  for (const char byte : bytes) numbers.push_back(static_cast<unsigned char>(byte));
  return {{"token", bytes}, {"logprob", shown(one.logprob)}, {"bytes", std::move(numbers)}};
}

// Returns how many bytes of `text` from `at` on belong to a token of these bytes. A token may have left none:
// one that was added before the text, or the space that a vocabulary puts before the first word.
size_t bytes_in(const std::string& text, size_t at, const std::string& bytes) {
  const auto continues = [&](const std::string& piece) { return text.compare(at, piece.size(), piece) == 0; };
  if (continues(bytes)) return bytes.size();
  if (bytes.starts_with(' ') && continues(bytes.substr(1))) return bytes.size() - 1;
  return 0;
}

}  // namespace

OrderedJson chat_logprob(const Tokenizer& tokenizer, const PositionLogprobs& at) {
  OrderedJson token = chat_token(tokenizer, at.token);
  token["top_logprobs"] = OrderedJson::array();
  for (const TokenLogprob& one : at.top) token["top_logprobs"].push_back(chat_token(tokenizer, one));
  return token;
}

void CompletionLogprobs::add_prompt(const std::vector<int32_t>& ids,
                                    const std::vector<PositionLogprobs>& logprobs, const std::string& text) {
  size_t at = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    add_token(ids[i], i == 0 ? nullptr : &logprobs.at(i - 1));
    const size_t n = bytes_in(text, at, tokenizer_.token_bytes(ids[i]));
    offset_ += n_characters(text.substr(at, n));
    at += n;
  }
  offset_ = n_characters(text);
}

void CompletionLogprobs::add(const PositionLogprobs& at) {
  add_token(at.token.id, &at);
  if (!is_silent(tokenizer_, at.token.id)) offset_ += n_characters(tokenizer_.token_bytes(at.token.id));
}

void CompletionLogprobs::add_token(int32_t id, const PositionLogprobs* at) {
  tokens_.push_back(token_text(tokenizer_, id));
  offsets_.push_back(offset_);
  token_logprobs_.push_back(at == nullptr ? OrderedJson() : OrderedJson(shown(at->token.logprob)));
  if (at == nullptr) {
    top_logprobs_.push_back(nullptr);
    return;
  }
  OrderedJson top = OrderedJson::object();
  for (const TokenLogprob& one : at->top) top.emplace(token_text(tokenizer_, one.id), shown(one.logprob));
  // The chosen token is always among them.
  top.emplace(token_text(tokenizer_, at->token.id), shown(at->token.logprob));
  top_logprobs_.push_back(std::move(top));
}

OrderedJson CompletionLogprobs::take() {
  if (tokens_.is_null()) return nullptr;
  return {{"text_offset", std::exchange(offsets_, nullptr)},
          {"token_logprobs", std::exchange(token_logprobs_, nullptr)},
          {"tokens", std::exchange(tokens_, nullptr)},
          {"top_logprobs", std::exchange(top_logprobs_, nullptr)}};
}

}  // namespace seer::serve
