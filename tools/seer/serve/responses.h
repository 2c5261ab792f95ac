// The API's answers as JSON text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "seer/engine.h"
#include "tools/seer/serve/answers/answer_delta.h"

namespace seer::serve {

struct Usage {
  int64_t prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0;
};

struct Choice {
  ParsedAnswer answer;  // for completions: content alone
  FinishReason finish = FinishReason::kLength;
  OrderedJson logprobs = {};  // null if none were asked for
  OrderedJson timings = {};   // likewise
};

// Returns "stop", "length", or "tool_calls" if the answer ended after a call.
const char* finish_reason(FinishReason finish, bool has_calls = false);

// What GET /v1/models says of the model.
struct ModelCard {
  std::string name;
  int64_t created = 0, ctx_size = 0;
  bool has_chat = false;  // there is a chat template
  int64_t n_layers = 0, n_heads = 0;
  std::string sparse;             // the rule of requests that name none
  std::optional<GateInfo> gates;  // absent: the model has none
  std::string sparse_decode;      // the rule by which tokens are decoded for requests that name none
  std::optional<DecodeGateInfo> decode_gates;  // absent: the model has none
};

std::string models_list(const ModelCard& card);
std::string model_object(const ModelCard& card);

// Writes the parts of one request's answer: whole, or in pieces as server-sent events.
class ResponseWriter {
 public:
  // `short_call_ids`: ids of calls have nine letters and digits, which is the only form that templates of
  // Mistral accept.
  ResponseWriter(bool chat, std::string model, bool include_usage, bool short_call_ids = false);

  std::string whole(const std::vector<Choice>& choices, const Usage& usage) const;

  // Each returns events, each of which ends in an empty line.
  std::string first(size_t choice) const;  // for a chat: the role of the speaker; empty for completions
  // Returns the new pieces of a choice, with its log-probabilities in the first event; empty if there are
  // none.
  std::string pieces(size_t choice, const std::vector<AnswerDelta>& deltas, OrderedJson logprobs = {}) const;
  std::string last(size_t choice, FinishReason finish, bool has_calls = false,
                   const OrderedJson& timings = {}) const;
  std::string usage(const Usage& usage) const;  // empty if it was not asked for
  static std::string end();                     // "data: [DONE]\n\n"
  static std::string event(const OrderedJson& json);

 private:
  OrderedJson envelope(bool streamed) const;
  std::string chunk(size_t choice, const OrderedJson& content, const OrderedJson& finish,
                    const OrderedJson& logprobs = {}, const OrderedJson& timings = {}) const;
  OrderedJson message(const ParsedAnswer& answer) const;
  OrderedJson chat_delta(const AnswerDelta& delta) const;
  std::string call_id() const;

  bool chat_;
  std::string model_, id_;
  int64_t created_;
  bool include_usage_, short_call_ids_;
};

}  // namespace seer::serve
