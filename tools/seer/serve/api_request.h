// The bodies of POST /v1/completions and /v1/chat/completions, read and checked as far as is possible without
// a model.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "seer/request.h"
#include "tools/seer/serve/json_fields.h"

namespace seer::serve {

using PromptInput = std::variant<std::string, std::vector<int32_t>>;  // text, or token ids

// The input of a chat template, in the form that transformers' apply_chat_template takes.
struct ChatInput {
  // At least one {"role", "content", ...}. Roles are system, user, assistant and tool; content is text.
  // tool_calls are never empty, and their arguments are JSON values, not text, if the text was JSON.
  Json messages = Json::array();
  Json tools = Json::array();    // {"type": "function", "function": {...}}; empty if none are offered
  Json kwargs = Json::object();  // further variables of the template
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the last message is the assistant's, and the answer continues it

  std::vector<std::string> tool_names() const;
};

struct ApiRequest {
  bool chat = false;
  std::optional<std::string> model;
  std::vector<PromptInput> prompts;  // for completions; at least one
  ChatInput input;                   // for a chat
  int64_t n = 1;                     // choices for each prompt
  std::optional<int64_t> max_tokens;
  int64_t min_tokens = 0;
  std::optional<double> temperature, top_p, min_p, presence_penalty, frequency_penalty, repetition_penalty;
  std::optional<int64_t> top_k, seed, repeat_last_n;  // seed absent: random
  std::map<int32_t, double> logit_bias;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  // How many of the likeliest tokens are wanted at each place, next to the chosen one.
  std::optional<int64_t> n_logprobs;
  bool stream = false, include_usage = false, echo = false, ignore_eos = false;
  bool timings = false;
  bool skip_special_tokens = true, parallel_tool_calls = true;
  bool add_special_tokens = true;     // for completions
  std::optional<bool> parse_special;  // for completions; absent: the server's default
  std::optional<SparseRule> sparse;
  std::optional<SparseDecodeRule> sparse_decode;

  int64_t n_choices() const { return n * (chat ? 1 : static_cast<int64_t>(prompts.size())); }
  // Returns `standard` with the given values. Choice `index` of a request with a seed has seed + index.
  SamplingParams sampling(const SamplingParams& standard, int64_t index) const;
};

// Both throw ApiError (400). parse_chat() moves the messages out of the body.
ApiRequest parse_completion(const Json& body);
ApiRequest parse_chat(Json body);

}  // namespace seer::serve
