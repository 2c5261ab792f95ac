#include "tools/seer/serve/api_request.h"

#include <initializer_list>

#include "seer/error.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

constexpr int64_t kMaxChoices = 128;  // the API's
constexpr size_t kMaxStops = 4;       // the API's
constexpr Range kTemperature = {0.0, 2.0};
constexpr Range kPenalty = {-2.0, 2.0};
constexpr Range kProbability = {0.0, 1.0};

// Fields that change no answer here are ignored, those that would are refused unless they ask for nothing.
const std::vector<const char*> kIgnored = {"user",         "metadata",         "safety_identifier",
                                           "service_tier", "prompt_cache_key", "prompt_cache_retention"};

// Those of both routes, and the route's own.
std::vector<const char*> known_fields(std::initializer_list<const char*> own) {
  std::vector<const char*> fields = {"model",
                                     "max_tokens",
                                     "temperature",
                                     "top_p",
                                     "top_k",
                                     "min_p",
                                     "n",
                                     "stop",
                                     "stream",
                                     "stream_options",
                                     "presence_penalty",
                                     "frequency_penalty",
                                     "ignore_eos",
                                     "seed",
                                     "sparse"};
  fields.insert(fields.end(), own);
  return fields;
}

const std::vector<const char*>& completion_fields() {
  static const std::vector<const char*> fields = known_fields({"prompt", "echo"});
  return fields;
}

const std::vector<const char*>& chat_fields() {
  static const std::vector<const char*> fields = known_fields({"messages", "max_completion_tokens"});
  return fields;
}

const std::vector<JsonFields::Unsupported>& completion_unsupported() {
  static const std::vector<JsonFields::Unsupported> fields = {
      {"best_of", {1}}, {"logit_bias", {Json::object()}}, {"logprobs", {}}, {"suffix", {""}}};
  return fields;
}

const std::vector<JsonFields::Unsupported>& chat_unsupported() {
  static const std::vector<JsonFields::Unsupported> fields = {
      {"audio", {}},
      {"function_call", {"none"}},
      {"functions", {Json::array()}},
      {"logit_bias", {Json::object()}},
      {"logprobs", {false}},
      {"modalities", {Json::array({"text"})}},
      {"parallel_tool_calls", {true, false}},
      {"prediction", {}},
      {"reasoning_effort", {"none"}},
      {"response_format", {Json({{"type", "text"}})}},
      {"store", {false}},
      {"tool_choice", {"none", "auto"}},
      {"tools", {Json::array()}},
      {"top_logprobs", {0}},
      {"verbosity", {"medium"}},
      {"web_search_options", {}},
  };
  return fields;
}

std::vector<std::string> read_stop(const JsonFields& fields) {
  const Json* value = fields.find("stop");
  if (value == nullptr) return {};
  const std::string expected = "a string or an array of up to " + std::to_string(kMaxStops) + " strings";
  std::vector<std::string> stops;
  const auto add = [&](const Json& text, const std::string& name) {
    if (!text.is_string()) wrong_type(name, "a string", text);
    if (text.get_ref<const std::string&>().empty())
      throw ApiError(kBadRequest, "'" + name + "': an empty string would end every answer at once", "stop",
                     "invalid_value");
    stops.push_back(text.get<std::string>());
  };
  if (value->is_string()) {
    add(*value, "stop");
    return stops;
  }
  if (!value->is_array()) wrong_type("stop", expected, *value);
  if (value->size() > kMaxStops)
    throw ApiError(kBadRequest, "'stop': expected " + expected + ", found " + std::to_string(value->size()),
                   "stop", "invalid_value");
  for (size_t i = 0; i < value->size(); ++i) add((*value)[i], "stop[" + std::to_string(i) + "]");
  return stops;
}

void read_stream(const JsonFields& fields, ApiRequest* request) {
  request->stream = fields.boolean("stream").value_or(false);
  const Json* value = fields.find("stream_options");
  if (value == nullptr) return;
  if (!value->is_object()) wrong_type("stream_options", "an object", *value);
  if (!request->stream)
    throw ApiError(kBadRequest,
                   "'stream_options' is for streamed answers: set 'stream' to true, or leave it out",
                   "stream_options", "invalid_value");
  const JsonFields options(*value, "stream_options.");
  options.check_known({"include_usage"}, {}, {{"include_obfuscation", {false}}});
  request->include_usage = options.boolean("include_usage").value_or(false);
}

// What both have.
void read_common(const JsonFields& fields, ApiRequest* request) {
  request->model = fields.string("model");
  request->n = fields.integer("n", 1, kMaxChoices).value_or(1);
  request->temperature = fields.number("temperature", kTemperature);
  request->top_p = fields.number("top_p", kProbability);
  request->min_p = fields.number("min_p", kProbability);
  request->top_k = fields.integer("top_k", -1);
  request->presence_penalty = fields.number("presence_penalty", kPenalty);
  request->frequency_penalty = fields.number("frequency_penalty", kPenalty);
  request->seed = fields.integer("seed", INT64_MIN);
  request->stop = read_stop(fields);
  read_stream(fields, request);
  request->ignore_eos = fields.boolean("ignore_eos").value_or(false);
  if (const std::optional<std::string> rule = fields.string("sparse")) {
    try {
      request->sparse = SparseRule::parse(*rule);
    } catch (const Error& error) {
      throw ApiError(kBadRequest, std::string("'sparse': ") + error.what(), "sparse", "invalid_value");
    }
  }
}

std::vector<int32_t> read_ids(const Json& array, const std::string& name) {
  if (array.empty())
    throw ApiError(kBadRequest, "'" + name + "': expected at least one token id, found an empty array",
                   "prompt", "invalid_value");
  std::vector<int32_t> ids;
  ids.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    const Json& id = array[i];
    // Ids beyond the vocabulary are refused where the vocabulary is known.
    const bool fits = id.is_number_unsigned() && id.get<uint64_t>() <= uint64_t{INT32_MAX};
    if (!fits) wrong_type(name + "[" + std::to_string(i) + "]", "a token id", id);
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::vector<PromptInput> read_prompts(const JsonFields& fields) {
  static const std::string kExpected =
      "a string, an array of strings, an array of token ids, or an array of such arrays";
  const Json* value = fields.find("prompt");
  if (value == nullptr)
    throw ApiError(kBadRequest, "'prompt' is missing: expected " + kExpected, "prompt", "missing_parameter");
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array() || value->empty()) wrong_type("prompt", kExpected, *value);
  if (value->front().is_number()) return {read_ids(*value, "prompt")};
  std::vector<PromptInput> prompts;
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& one = (*value)[i];
    const std::string name = "prompt[" + std::to_string(i) + "]";
    if (one.is_string() && value->front().is_string()) {
      prompts.emplace_back(one.get<std::string>());
    } else if (one.is_array() && value->front().is_array()) {
      prompts.emplace_back(read_ids(one, name));
    } else {
      wrong_type(name, value->front().is_string() ? "a string, as prompt[0] is" : "an array of token ids",
                 one);
    }
  }
  return prompts;
}

// A message's content: a string, or text parts, which are joined by newlines.
std::string read_content(const JsonFields& message) {
  const Json* value = message.find("content");
  const std::string name = message.name("content");
  if (value == nullptr)
    throw ApiError(kBadRequest, "'" + name + "' is missing: expected a string or an array of text parts",
                   name, "missing_parameter");
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array()) wrong_type(name, "a string or an array of text parts", *value);
  std::string text;
  for (size_t i = 0; i < value->size(); ++i) {
    const std::string part_name = name + "[" + std::to_string(i) + "]";
    const Json& part = (*value)[i];
    if (!part.is_object()) wrong_type(part_name, "an object", part);
    const JsonFields fields(part, part_name + ".");
    const std::optional<std::string> type = fields.string("type");
    if (type != "text")
      throw ApiError(kBadRequest,
                     "'" + part_name +
                         ".type': expected 'text', the only kind of part that this server reads, found " +
                         (type ? "'" + *type + "'" : "none"),
                     part_name + ".type", "unsupported_content");
    fields.check_known({"type", "text"}, {"cache_control"}, {});
    const std::optional<std::string> piece = fields.string("text");
    if (!piece)
      throw ApiError(kBadRequest, "'" + part_name + ".text' is missing: expected a string",
                     part_name + ".text", "missing_parameter");
    text += (i == 0 ? "" : "\n") + *piece;
  }
  return text;
}

ChatMessage read_message(const Json& value, const std::string& name) {
  if (!value.is_object()) wrong_type(name, "an object with role and content", value);
  const JsonFields fields(value, name + ".");
  std::optional<std::string> role = fields.string("role");
  if (role == "developer") role = "system";  // the newer name of the same
  if (role != "system" && role != "user" && role != "assistant")
    throw ApiError(kBadRequest,
                   "'" + name + ".role': expected 'system', 'user' or 'assistant', found " +
                       (role ? "'" + *role + "'" : "none"),
                   name + ".role", "invalid_value");
  // What the API's own answers carry comes back in the next request.
  fields.check_known(
      {"role", "content"}, {"name", "annotations"},
      {{"audio", {}}, {"function_call", {}}, {"refusal", {}}, {"tool_calls", {Json::array()}}});
  return {*role, read_content(fields)};
}

}  // namespace

SamplingParams ApiRequest::sampling(const SamplingParams& standard, int64_t index) const {
  SamplingParams params = standard;
  params.temperature = temperature.value_or(standard.temperature);
  params.top_p = top_p.value_or(standard.top_p);
  params.min_p = min_p.value_or(standard.min_p);
  params.top_k = top_k ? std::max<int64_t>(*top_k, 0) : standard.top_k;  // -1 is "all" to other servers
  params.presence_penalty = presence_penalty.value_or(standard.presence_penalty);
  params.frequency_penalty = frequency_penalty.value_or(standard.frequency_penalty);
  if (seed) params.seed = static_cast<uint64_t>(*seed) + static_cast<uint64_t>(index);
  return params;
}

ApiRequest parse_completion(const Json& body) {
  const JsonFields fields(body);
  fields.check_known(completion_fields(), kIgnored, completion_unsupported());
  ApiRequest request;
  request.prompts = read_prompts(fields);
  read_common(fields, &request);
  request.max_tokens = fields.integer("max_tokens", 0);
  request.echo = fields.boolean("echo").value_or(false);
  return request;
}

ApiRequest parse_chat(const Json& body) {
  const JsonFields fields(body);
  fields.check_known(chat_fields(), kIgnored, chat_unsupported());
  ApiRequest request;
  request.chat = true;
  const Json* messages = fields.find("messages");
  if (messages == nullptr)
    throw ApiError(kBadRequest, "'messages' is missing: expected an array of messages", "messages",
                   "missing_parameter");
  if (!messages->is_array() || messages->empty())
    wrong_type("messages", "an array of at least one message", *messages);
  for (size_t i = 0; i < messages->size(); ++i)
    request.messages.push_back(read_message((*messages)[i], "messages[" + std::to_string(i) + "]"));
  read_common(fields, &request);
  request.max_tokens = fields.integer("max_completion_tokens", 1);
  const std::optional<int64_t> older = fields.integer("max_tokens", 1);
  if (request.max_tokens && older && *request.max_tokens != *older)
    throw ApiError(kBadRequest, "'max_tokens' and 'max_completion_tokens' mean the same and differ: give one",
                   "max_tokens", "invalid_value");
  if (!request.max_tokens) request.max_tokens = older;
  return request;
}

}  // namespace seer::serve
