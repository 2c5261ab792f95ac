// Log-probabilities in the form of each of the two routes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "seer/request.h"
#include "seer/tokenizer.h"

namespace seer::serve {

// Returns an element of a chat's logprobs.content.
OrderedJson chat_logprob(const Tokenizer& tokenizer, const PositionLogprobs& at);

// A completion's logprobs: parallel arrays that grow token by token.
class CompletionLogprobs {
 public:
  explicit CompletionLogprobs(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // Adds a prompt that is echoed as `text`: its first token, which nothing predicts, and the others.
  void add_prompt(const std::vector<int32_t>& ids, const std::vector<PositionLogprobs>& logprobs,
                  const std::string& text);
  void add(const PositionLogprobs& at);

  // Returns the arrays added since the last call, or null if there are none.
  OrderedJson take();

 private:
  void add_token(int32_t id, const PositionLogprobs* at);

  const Tokenizer& tokenizer_;
  int64_t offset_ = 0;  // characters of the choice's text before the next token
  OrderedJson tokens_, token_logprobs_, top_logprobs_, offsets_;
};

}  // namespace seer::serve
