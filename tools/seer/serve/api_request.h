// The bodies of POST /v1/completions and /v1/chat/completions, read and checked as far as they can be without
// a model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "seer/request.h"
#include "seer/tokenizer.h"
#include "tools/seer/serve/json_fields.h"

namespace seer::serve {

using PromptInput = std::variant<std::string, std::vector<int32_t>>;  // text, or token ids

struct ApiRequest {
  bool chat = false;
  std::optional<std::string> model;
  std::vector<PromptInput> prompts;   // of completions, at least one
  std::vector<ChatMessage> messages;  // of a chat, at least one
  int64_t n = 1;                      // choices for each prompt
  std::optional<int64_t> max_tokens;
  std::optional<double> temperature, top_p, min_p, presence_penalty, frequency_penalty;
  std::optional<int64_t> top_k, seed;
  std::vector<std::string> stop;
  bool stream = false, include_usage = false, echo = false, ignore_eos = false;
  std::optional<SparseRule> sparse;

  int64_t n_choices() const { return n * (chat ? 1 : static_cast<int64_t>(prompts.size())); }
  // `standard` with what was given; choice `index` of a seeded request has the seed + index.
  SamplingParams sampling(const SamplingParams& standard, int64_t index) const;
};

// Both throw ApiError (400).
ApiRequest parse_completion(const Json& body);
ApiRequest parse_chat(const Json& body);

}  // namespace seer::serve
