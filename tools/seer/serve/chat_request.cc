// The body of POST /v1/chat/completions.
#include <utility>

#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/api_request.h"
#include "tools/seer/serve/chat_messages.h"
#include "tools/seer/serve/request_fields.h"

namespace seer::serve {
namespace {

const std::vector<const char*>& chat_fields() {
  static const std::vector<const char*> fields =
      known_fields({"messages", "max_completion_tokens", "top_logprobs", "tools", "tool_choice",
                    "parallel_tool_calls", "chat_template_kwargs", "reasoning_effort", "documents",
                    "add_generation_prompt", "continue_final_message"});
  return fields;
}

const std::vector<JsonFields::Unsupported>& chat_unsupported() {
  static const std::vector<JsonFields::Unsupported> fields = unsupported_fields({
      {"audio", {}},
      {"chat_template", {}},
      {"echo", {}},
      {"function_call", {"none"}},
      {"functions", {}},
      {"include_reasoning", {true}},
      {"modalities", {Json::array({"text"})}},
      {"prediction", {}},
      {"store", {}},
      {"verbosity", {"medium"}},
      {"web_search_options", {}},
  });
  return fields;
}

// Moves the member of that name out of the body and leaves null. Returns null if there is none.
Json taken(Json* body, const char* name) {
  const auto at = body->find(name);
  return at == body->end() ? Json() : std::exchange(*at, nullptr);
}

// Returns whether the given tools are offered to the model.
bool offers_tools(const JsonFields& fields) {
  const Json* choice = fields.find("tool_choice");
  if (choice == nullptr || *choice == "auto") return true;
  if (*choice == "none") return false;
  refuse(
      "tool_choice",
      "expected 'auto' or 'none': a model cannot be made to call a function here; found " + describe(*choice),
      "unsupported_parameter");
}

// Returns the variables for the template: chat_template_kwargs, and those that follow from other fields of
// the API.
Json read_kwargs(const JsonFields& fields) {
  Json kwargs = Json::object();
  if (const Json* given = fields.find("chat_template_kwargs")) {
    if (!given->is_object()) wrong_type("chat_template_kwargs", "an object", *given);
    for (const char* own : {"messages", "tools", "add_generation_prompt", "continue_final_message"})
      if (given->contains(own))
        refuse(std::string("chat_template_kwargs.") + own, "this is a field of the request itself",
               "invalid_value");
    kwargs = *given;
  }
  if (const std::optional<std::string> effort = fields.string("reasoning_effort")) {
    // This follows vLLM. Templates that know no effort may still have a variable that turns thinking on or
    // off.
    if (!kwargs.contains("reasoning_effort")) kwargs["reasoning_effort"] = *effort;
    if (!kwargs.contains("enable_thinking")) kwargs["enable_thinking"] = *effort != "none";
  }
  if (const Json* documents = fields.find("documents")) {
    if (!documents->is_array()) wrong_type("documents", "an array of objects", *documents);
    if (!documents->empty()) kwargs["documents"] = *documents;
  }
  return kwargs;
}

// Decides whether the answer continues the last message. It does if that is an assistant's, unless the
// request says otherwise.
void read_ending(const JsonFields& fields, ChatInput* input) {
  const Json& last = input->messages.back();
  const bool of_assistant = last["role"] == "assistant";
  const std::optional<bool> prompt = fields.boolean("add_generation_prompt");
  const std::optional<bool> goes_on = fields.boolean("continue_final_message");
  const bool may_go_on = of_assistant && !last.contains("tool_calls");
  if (goes_on.value_or(false) && prompt.value_or(false))
    refuse("continue_final_message", "this excludes 'add_generation_prompt': set one of them to true",
           "invalid_value");
  if (goes_on.value_or(false) && !may_go_on)
    refuse("continue_final_message",
           "expected the last message to be the assistant's, without tool_calls, found " +
               describe(last["role"]),
           "invalid_value");
  input->continue_final_message = goes_on.value_or(may_go_on && !prompt.value_or(false));
  input->add_generation_prompt = prompt.value_or(!input->continue_final_message);
}

std::optional<int64_t> read_limit(const JsonFields& fields) {
  const std::optional<int64_t> limit = fields.integer("max_completion_tokens", 1);
  const std::optional<int64_t> older = fields.integer("max_tokens", 1);
  if (limit && older && *limit != *older)
    throw ApiError(kBadRequest, "'max_tokens' and 'max_completion_tokens' mean the same and differ: give one",
                   "max_tokens", "invalid_value");
  return limit ? limit : older;
}

std::optional<int64_t> read_logprobs(const JsonFields& fields) {
  const bool wanted = fields.boolean("logprobs").value_or(false);
  const std::optional<int64_t> top = fields.integer("top_logprobs", 0, kMaxLogprobs);
  if (wanted) return top.value_or(0);
  if (top.value_or(0) > 0) refuse("top_logprobs", "this needs 'logprobs' to be true", "invalid_value");
  return std::nullopt;
}

}  // namespace

std::vector<std::string> ChatInput::tool_names() const {
  std::vector<std::string> names;
  for (const Json& tool : tools) names.push_back(tool["function"]["name"]);
  return names;
}

ApiRequest parse_chat(Json body) {
  const JsonFields fields(body);
  fields.check_known(chat_fields(), ignored_fields(), chat_unsupported());
  ApiRequest request;
  request.chat = true;
  request.input.messages = read_messages(taken(&body, "messages"));
  Json tools = read_tools(taken(&body, "tools"));
  if (offers_tools(fields)) request.input.tools = std::move(tools);
  request.parallel_tool_calls = fields.boolean("parallel_tool_calls").value_or(true);
  request.input.kwargs = read_kwargs(fields);
  read_ending(fields, &request.input);
  read_common(fields, &request);
  request.max_tokens = read_limit(fields);
  check_min_tokens(request);
  request.n_logprobs = read_logprobs(fields);
  if (fields.boolean("add_special_tokens").value_or(false))
    refuse("add_special_tokens", "a chat's special tokens are its template's: leave it out",
           "unsupported_parameter");
  return request;
}

}  // namespace seer::serve
