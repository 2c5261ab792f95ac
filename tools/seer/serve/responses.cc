#include "tools/seer/serve/responses.h"

#include <ctime>
#include <random>

#include "tools/seer/format.h"

namespace seer::serve {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson model_json(const std::string& model, int64_t created, int64_t ctx_size) {
  // max_model_len is what other servers call it, and what clients look for.
  return {{"id", model},
          {"object", "model"},
          {"created", created},
          {"owned_by", "seer"},
          {"max_model_len", ctx_size}};
}

OrderedJson usage_json(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

std::string random_id() {
  thread_local std::random_device device;
  std::string id;
  for (int i = 0; i < 3; ++i) id += cli::format("%08x", device());
  return id;
}

}  // namespace

const char* finish_reason(FinishReason finish) {
  switch (finish) {
    case FinishReason::kEos:
    case FinishReason::kStopString:
    case FinishReason::kStopToken:
      return "stop";
    case FinishReason::kLength:
    case FinishReason::kContextFull:
    case FinishReason::kCancelled:  // is an error before it comes here
      break;
  }
  return "length";
}

std::string models_list(const std::string& model, int64_t created, int64_t ctx_size) {
  return cli::to_text(
      {{"object", "list"}, {"data", OrderedJson::array({model_json(model, created, ctx_size)})}});
}

std::string model_object(const std::string& model, int64_t created, int64_t ctx_size) {
  return cli::to_text(model_json(model, created, ctx_size));
}

ResponseWriter::ResponseWriter(bool chat, std::string model, bool include_usage)
    : chat_(chat),
      model_(std::move(model)),
      id_((chat ? "chatcmpl-" : "cmpl-") + random_id()),
      created_(static_cast<int64_t>(std::time(nullptr))),
      include_usage_(include_usage) {}

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
      choice["message"] = {{"role", "assistant"}, {"content", choices[i].text}, {"refusal", nullptr}};
    } else {
      choice["text"] = choices[i].text;
    }
    choice["logprobs"] = nullptr;
    choice["finish_reason"] = finish_reason(choices[i].finish);
    out["choices"].push_back(std::move(choice));
  }
  out["usage"] = usage_json(usage);
  return cli::to_text(out);
}

std::string ResponseWriter::chunk(size_t choice, const OrderedJson& content,
                                  const OrderedJson& finish) const {
  OrderedJson out = envelope(true);
  OrderedJson one = {{"index", choice}, {chat_ ? "delta" : "text", content}};
  one["logprobs"] = nullptr;
  one["finish_reason"] = finish;
  out["choices"] = OrderedJson::array({std::move(one)});
  if (include_usage_) out["usage"] = nullptr;
  return event(out);
}

std::string ResponseWriter::first(size_t choice) const {
  return chat_ ? chunk(choice, {{"role", "assistant"}, {"content", ""}}, nullptr) : std::string();
}

std::string ResponseWriter::piece(size_t choice, const std::string& text) const {
  return chunk(choice, chat_ ? OrderedJson{{"content", text}} : OrderedJson(text), nullptr);
}

std::string ResponseWriter::last(size_t choice, FinishReason finish) const {
  return chunk(choice, chat_ ? OrderedJson::object() : OrderedJson(""), finish_reason(finish));
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
