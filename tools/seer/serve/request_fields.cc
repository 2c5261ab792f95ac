#include "tools/seer/serve/request_fields.h"

#include <charconv>

#include "seer/error.h"
#include "tools/seer/serve/api_error.h"

namespace seer::serve {
namespace {

constexpr int64_t kMaxChoices = 128;  // the API's limit
constexpr size_t kMaxStops = 64;      // the API's limit of 4 is too small for some clients
// Each choice looks for every stop string and id at every token, so these are limited. Real ones are shorter:
// a few words, or the names of tokens.
constexpr size_t kMaxStopBytes = 1024, kMaxStopIds = 1024;
constexpr Range kTemperature = {0.0, 2.0};
constexpr Range kPenalty = {-2.0, 2.0};
constexpr Range kRepetition = {0.01, 100.0};
constexpr Range kProbability = {0.0, 1.0};
constexpr Range kBias = {-100.0, 100.0};

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
    if (const size_t n = text.get_ref<const std::string&>().size(); n > kMaxStopBytes)
      refuse(name, "expected at most " + std::to_string(kMaxStopBytes) + " bytes, found " + std::to_string(n),
             "invalid_value");
    stops.push_back(text.get<std::string>());
  };
  if (value->is_string()) {
    add(*value, "stop");
    return stops;
  }
  if (!value->is_array()) wrong_type("stop", expected, *value);
  if (value->size() > kMaxStops)
    refuse("stop", "expected " + expected + ", found " + std::to_string(value->size()), "invalid_value");
  for (size_t i = 0; i < value->size(); ++i) add((*value)[i], "stop[" + std::to_string(i) + "]");
  return stops;
}

void read_stream(const JsonFields& fields, ApiRequest* request) {
  request->stream = fields.boolean("stream").value_or(false);
  const Json* value = fields.find("stream_options");
  if (value == nullptr) return;
  if (!value->is_object()) wrong_type("stream_options", "an object", *value);
  if (!request->stream)
    refuse("stream_options", "this is for streamed answers: set 'stream' to true, or leave it out",
           "invalid_value");
  const JsonFields options(*value, "stream_options.");
  options.check_known({"include_usage"}, {}, {{"continuous_usage_stats", {}}, {"include_obfuscation", {}}});
  request->include_usage = options.boolean("include_usage").value_or(false);
}

std::vector<int32_t> read_stop_ids(const JsonFields& fields) {
  std::vector<int32_t> ids = fields.ids("stop_token_ids").value_or(std::vector<int32_t>());
  if (ids.size() > kMaxStopIds)
    refuse("stop_token_ids",
           "expected at most " + std::to_string(kMaxStopIds) + " ids, found " + std::to_string(ids.size()),
           "invalid_value");
  return ids;
}

std::map<int32_t, double> read_logit_bias(const JsonFields& fields) {
  const Json* value = fields.find("logit_bias");
  if (value == nullptr) return {};
  if (!value->is_object()) wrong_type("logit_bias", "an object of token ids and numbers", *value);
  std::map<int32_t, double> bias;
  const JsonFields members(*value, "logit_bias.");
  for (const auto& [key, number] : value->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0)
      refuse("logit_bias", "expected token ids as names, found '" + key + "'", "invalid_value");
    if (const std::optional<double> given = members.number(key.c_str(), kBias)) bias[id] = *given;
  }
  return bias;
}

template <class Rule>
std::optional<Rule> read_rule(const JsonFields& fields, const char* name) {
  const std::optional<std::string> rule = fields.string(name);
  if (!rule) return std::nullopt;
  try {
    return Rule::parse(*rule);
  } catch (const Error& error) {
    refuse(name, error.what(), "invalid_value");
  }
}

}  // namespace

std::vector<const char*> known_fields(std::initializer_list<const char*> own) {
  std::vector<const char*> fields = {"model",
                                     "max_tokens",
                                     "min_tokens",
                                     "temperature",
                                     "top_p",
                                     "top_k",
                                     "min_p",
                                     "n",
                                     "stop",
                                     "stop_token_ids",
                                     "stream",
                                     "stream_options",
                                     "presence_penalty",
                                     "frequency_penalty",
                                     "repetition_penalty",
                                     "repeat_last_n",
                                     "logit_bias",
                                     "logprobs",
                                     "ignore_eos",
                                     "seed",
                                     "skip_special_tokens",
                                     "add_special_tokens",
                                     "sparse",
                                     "sparse_decode",
                                     "timings"};
  fields.insert(fields.end(), own);
  return fields;
}

std::vector<JsonFields::Unsupported> unsupported_fields(std::vector<JsonFields::Unsupported> own) {
  // Fields of other servers, with the values that these use if a client does not set them.
  std::vector<JsonFields::Unsupported> fields = {
      {"response_format", {Json({{"type", "text"}})}},
      {"include_stop_str_in_output", {}},
      {"spaces_between_special_tokens", {true}},
      {"use_beam_search", {}},
      {"length_penalty", {1}},
      {"truncate_prompt_tokens", {}},
      {"prompt_logprobs", {}},
      {"allowed_token_ids", {}},
      {"bad_words", {}},
      {"priority", {0}},
  };
  fields.insert(fields.begin(), own.begin(), own.end());
  return fields;
}

const std::vector<const char*>& ignored_fields() {
  static const std::vector<const char*> fields = {
      "user",         "metadata",         "safety_identifier",
      "service_tier", "prompt_cache_key", "prompt_cache_retention",
      "request_id"};
  return fields;
}

void read_common(const JsonFields& fields, ApiRequest* request) {
  request->model = fields.string("model");
  request->n = fields.integer("n", 1, kMaxChoices).value_or(1);
  request->temperature = fields.number("temperature", kTemperature);
  request->top_p = fields.number("top_p", kProbability);
  request->min_p = fields.number("min_p", kProbability);
  request->top_k = fields.integer("top_k", -1);
  request->presence_penalty = fields.number("presence_penalty", kPenalty);
  request->frequency_penalty = fields.number("frequency_penalty", kPenalty);
  request->repetition_penalty = fields.number("repetition_penalty", kRepetition);
  request->repeat_last_n = fields.integer("repeat_last_n", -1);
  request->logit_bias = read_logit_bias(fields);
  request->seed = fields.integer("seed", INT64_MIN);
  if (request->seed == -1) request->seed.reset();
  request->min_tokens = fields.integer("min_tokens", 0).value_or(0);
  request->stop = read_stop(fields);
  request->stop_token_ids = read_stop_ids(fields);
  read_stream(fields, request);
  request->ignore_eos = fields.boolean("ignore_eos").value_or(false);
  request->skip_special_tokens = fields.boolean("skip_special_tokens").value_or(true);
  request->sparse = read_rule<SparseRule>(fields, "sparse");
  request->sparse_decode = read_rule<SparseDecodeRule>(fields, "sparse_decode");
  request->timings = fields.boolean("timings").value_or(false);
}

void check_min_tokens(const ApiRequest& request) {
  if (request.max_tokens && request.min_tokens > *request.max_tokens)
    refuse("min_tokens",
           "expected at most max_tokens, which is " + std::to_string(*request.max_tokens) + ", found " +
               std::to_string(request.min_tokens),
           "invalid_value");
}

}  // namespace seer::serve
