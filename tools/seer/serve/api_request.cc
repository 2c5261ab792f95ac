#include "tools/seer/serve/api_request.h"

#include <algorithm>

#include "tools/seer/serve/api_error.h"
#include "tools/seer/serve/request_fields.h"

namespace seer::serve {
namespace {

const std::vector<const char*>& completion_fields() {
  static const std::vector<const char*> fields = known_fields({"prompt", "echo", "best_of", "parse_special"});
  return fields;
}

const std::vector<JsonFields::Unsupported>& completion_unsupported() {
  static const std::vector<JsonFields::Unsupported> fields = unsupported_fields({{"suffix", {""}}});
  return fields;
}

std::vector<int32_t> read_prompt_ids(const Json& array, const std::string& name) {
  if (array.empty())
    throw ApiError(kBadRequest, "'" + name + "': expected at least one token id, found an empty array",
                   "prompt", "invalid_value");
  const Json object = {{name, array}};
  return *JsonFields(object).ids(name.c_str());
}

std::vector<PromptInput> read_prompts(const JsonFields& fields) {
  static const std::string kExpected =
      "a string, an array of strings, an array of token ids, or an array of such arrays";
  const Json* value = fields.find("prompt");
  if (value == nullptr)
    throw ApiError(kBadRequest, "'prompt' is missing: expected " + kExpected, "prompt", "missing_parameter");
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array() || value->empty()) wrong_type("prompt", kExpected, *value);
  if (value->front().is_number()) return {read_prompt_ids(*value, "prompt")};
  std::vector<PromptInput> prompts;
  for (size_t i = 0; i < value->size(); ++i) {
    const Json& one = (*value)[i];
    const std::string name = "prompt[" + std::to_string(i) + "]";
    if (one.is_string() && value->front().is_string()) {
      prompts.emplace_back(one.get<std::string>());
    } else if (one.is_array() && value->front().is_array()) {
      prompts.emplace_back(read_prompt_ids(one, name));
    } else {
      wrong_type(name, value->front().is_string() ? "a string, as prompt[0] is" : "an array of token ids",
                 one);
    }
  }
  return prompts;
}

}  // namespace

SamplingParams ApiRequest::sampling(const SamplingParams& standard, int64_t index) const {
  SamplingParams params = standard;
  params.temperature = temperature.value_or(standard.temperature);
  params.top_p = top_p.value_or(standard.top_p);
  params.min_p = min_p.value_or(standard.min_p);
  params.top_k = top_k ? std::max<int64_t>(*top_k, 0) : standard.top_k;  // other servers write -1 for "all"
  params.presence_penalty = presence_penalty.value_or(standard.presence_penalty);
  params.frequency_penalty = frequency_penalty.value_or(standard.frequency_penalty);
  params.repeat_penalty = repetition_penalty.value_or(standard.repeat_penalty);
  params.repeat_last_n = repeat_last_n.value_or(standard.repeat_last_n);
  params.logit_bias = logit_bias;
  if (seed) params.seed = static_cast<uint64_t>(*seed) + static_cast<uint64_t>(index);
  return params;
}

ApiRequest parse_completion(const Json& body) {
  const JsonFields fields(body);
  fields.check_known(completion_fields(), ignored_fields(), completion_unsupported());
  ApiRequest request;
  request.prompts = read_prompts(fields);
  read_common(fields, &request);
  request.max_tokens = fields.integer("max_tokens", 0);
  check_min_tokens(request);
  request.echo = fields.boolean("echo").value_or(false);
  request.n_logprobs = fields.integer("logprobs", 0, kMaxLogprobs);
  request.add_special_tokens = fields.boolean("add_special_tokens").value_or(true);
  request.parse_special = fields.boolean("parse_special");
  if (const std::optional<int64_t> best_of = fields.integer("best_of", 1);
      best_of.value_or(request.n) != request.n)
    refuse("best_of",
           "expected as many as 'n', which is " + std::to_string(request.n) +
               ": choosing the best of more is not supported; found " + std::to_string(*best_of),
           "unsupported_parameter");
  return request;
}

}  // namespace seer::serve
