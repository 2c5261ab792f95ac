#include "tools/seer/serve/responses.h"

#include <ctime>
#include <random>
#include <string_view>
#include <utility>

#include "tools/seer/format.h"

namespace seer::serve {
namespace {

OrderedJson gates_json(const std::optional<GateInfo>& gates) {
  if (!gates) return nullptr;
  return {{"block_size", gates->gate_block}, {"sparse", gates->default_rule.to_string()}};
}

OrderedJson gates_json(const std::optional<DecodeGateInfo>& gates) {
  if (!gates) return nullptr;
  return {{"block_size", gates->gate_block},
          {"start_layer", gates->start_layer},
          {"sparse_decode", gates->default_rule.to_string()}};
}

OrderedJson model_json(const ModelCard& card) {
  // Other servers call it max_model_len, and clients look for that name.
  return {{"id", card.name},
          {"object", "model"},
          {"created", card.created},
          {"owned_by", "seer"},
          {"max_model_len", card.ctx_size},
          {"chat", card.has_chat},
          {"n_layers", card.n_layers},
          {"n_heads", card.n_heads},
          {"sparse", card.sparse},
          {"gates", gates_json(card.gates)},
          {"sparse_decode", card.sparse_decode},
          {"decode_gates", gates_json(card.decode_gates)}};
}

OrderedJson usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

uint32_t random_bits() {
  thread_local std::random_device device;
  return device();
}

std::string random_id() {
  std::string id;
  for (int i = 0; i < 3; ++i) id += cli::format("%08x", random_bits());
  return id;
}

}  // namespace

const char* finish_reason(FinishReason finish, bool has_calls) {
  switch (finish) {
    case FinishReason::kEos:
    case FinishReason::kStopString:
    case FinishReason::kStopToken:
      return has_calls ? "tool_calls" : "stop";
    case FinishReason::kLength:
    case FinishReason::kContextFull:
    case FinishReason::kCancelled:  // this was turned into an error before
      break;
  }
  return "length";
}

std::string models_list(const ModelCard& card) {
  return cli::to_text({{"object", "list"}, {"data", OrderedJson::array({model_json(card)})}});
}

std::string model_object(const ModelCard& card) { return cli::to_text(model_json(card)); }

ResponseWriter::ResponseWriter(bool chat, std::string model, bool include_usage, bool short_call_ids)
    : chat_(chat),
      model_(std::move(model)),
      id_((chat ? "chatcmpl-" : "cmpl-") + random_id()),
      created_(static_cast<int64_t>(std::time(nullptr))),
      include_usage_(include_usage),
      short_call_ids_(short_call_ids) {}

std::string ResponseWriter::call_id() const {
  if (!short_call_ids_) return "call_" + random_id();
  static constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  std::string id;
  for (int i = 0; i < 9; ++i) id += kLetters[random_bits() % kLetters.size()];
  return id;
}

OrderedJson ResponseWriter::envelope(bool streamed) const {
  const char* object = !chat_ ? "text_completion" : streamed ? "chat.completion.chunk" : "chat.completion";
  return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
}

std::string ResponseWriter::whole(const std::vector<Choice>& choices, const Usage& usage) const {
  OrderedJson out = envelope(false);
  out["choices"] = OrderedJson::array();
  for (size_t i = 0; i < choices.size(); ++i) {
    OrderedJson choice = {{"index", i}};
    if (chat_) {
      choice["message"] = message(choices[i].answer);
    } else {
      choice["text"] = choices[i].answer.content;
    }
    choice["logprobs"] = choices[i].logprobs;
    choice["finish_reason"] = finish_reason(choices[i].finish, !choices[i].answer.calls.empty());
    if (!choices[i].timings.is_null()) choice["timings"] = choices[i].timings;
    out["choices"].push_back(std::move(choice));
  }
  out["usage"] = usage_json(usage);
  return cli::to_text(out);
}

OrderedJson ResponseWriter::message(const ParsedAnswer& answer) const {
  OrderedJson out = {{"role", "assistant"}, {"content", answer.content}, {"refusal", nullptr}};
  if (!answer.reasoning.empty()) out["reasoning_content"] = answer.reasoning;
  if (answer.calls.empty()) return out;
  if (answer.content.empty()) out["content"] = nullptr;
  for (const ParsedAnswer::Call& call : answer.calls)
    out["tool_calls"].push_back({{"id", call_id()},
                                 {"type", "function"},
                                 {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  return out;
}

std::string ResponseWriter::chunk(size_t choice, const OrderedJson& content, const OrderedJson& finish,
                                  const OrderedJson& logprobs, const OrderedJson& timings) const {
  OrderedJson out = envelope(true);
  OrderedJson one = {{"index", choice}, {chat_ ? "delta" : "text", content}};
  one["logprobs"] = logprobs;
  one["finish_reason"] = finish;
  if (!timings.is_null()) one["timings"] = timings;
  out["choices"] = OrderedJson::array({std::move(one)});
  if (include_usage_) out["usage"] = nullptr;
  return event(out);
}

std::string ResponseWriter::first(size_t choice) const {
  return chat_ ? chunk(choice, {{"role", "assistant"}, {"content", ""}}, nullptr) : std::string();
}

OrderedJson ResponseWriter::chat_delta(const AnswerDelta& delta) const {
  OrderedJson call = {{"index", delta.call}};
  switch (delta.kind) {
    case AnswerDelta::Kind::kReasoning:
      return {{"reasoning_content", delta.text}};
    case AnswerDelta::Kind::kContent:
      return {{"content", delta.text}};
    case AnswerDelta::Kind::kCallBegin:
      call["id"] = call_id();
      call["type"] = "function";
      call["function"] = {{"name", delta.text}, {"arguments", ""}};
      break;
    case AnswerDelta::Kind::kCallArguments:
      call["function"] = {{"arguments", delta.text}};
      break;
    // The sent part of a broken call cannot be taken back. But nothing is missing either: the sent arguments
    // are the text that the model wrote.
    case AnswerDelta::Kind::kCallEnd:
    case AnswerDelta::Kind::kCallBroken:
      return OrderedJson::object();
  }
  return {{"tool_calls", OrderedJson::array({std::move(call)})}};
}

std::string ResponseWriter::pieces(size_t choice, const std::vector<AnswerDelta>& deltas,
                                   OrderedJson logprobs) const {
  std::string events;
  for (const AnswerDelta& delta : deltas) {
    const OrderedJson content = chat_ ? chat_delta(delta) : OrderedJson(delta.text);
    if (chat_ && content.empty()) continue;
    events += chunk(choice, content, nullptr, std::exchange(logprobs, nullptr));
  }
  if (logprobs.is_null()) return events;
  return events + chunk(choice, chat_ ? OrderedJson::object() : OrderedJson(""), nullptr, logprobs);
}

std::string ResponseWriter::last(size_t choice, FinishReason finish, bool has_calls,
                                 const OrderedJson& timings) const {
  return chunk(choice, chat_ ? OrderedJson::object() : OrderedJson(""), finish_reason(finish, has_calls), {},
               timings);
}

std::string ResponseWriter::usage(const Usage& usage) const {
  if (!include_usage_) return {};
  OrderedJson out = envelope(true);
  out["choices"] = OrderedJson::array();
  out["usage"] = usage_json(usage);
  return event(out);
}

std::string ResponseWriter::end() { return "data: [DONE]\n\n"; }

std::string ResponseWriter::event(const OrderedJson& json) { return "data: " + cli::to_text(json) + "\n\n"; }

}  // namespace seer::serve
