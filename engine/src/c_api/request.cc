// Converts requests from C structs to C++ ones, and their events back.
#include "engine/src/c_api/request.h"

#include <cstddef>
#include <vector>

namespace seer::c_api {
namespace {

// Copies what both structures have under the same name.
template <class From, class To>
void copy_numbers(const From& in, To* out) {
  out->temperature = in.temperature;
  out->top_k = in.top_k;
  out->top_p = in.top_p;
  out->min_p = in.min_p;
  out->repeat_penalty = in.repeat_penalty;
  out->presence_penalty = in.presence_penalty;
  out->frequency_penalty = in.frequency_penalty;
  out->repeat_last_n = in.repeat_last_n;
}

seer_sampling sampling_to_c(const SamplingParams& in) {
  seer_sampling out = {};
  out.size = sizeof out;
  copy_numbers(in, &out);
  out.seed = in.seed.value_or(0);
  out.has_seed = in.seed ? 1 : 0;
  return out;
}

SamplingParams sampling_of(const seer_sampling& in) {
  SamplingParams out;
  copy_numbers(in, &out);
  if (in.has_seed != 0) out.seed = in.seed;
  if (in.n_biases > 0) {
    check_pointer(in.bias_ids, "bias_ids");
    check_pointer(in.bias_values, "bias_values");
  }
  for (size_t i = 0; i < in.n_biases; ++i)
    if (!out.logit_bias.emplace(in.bias_ids[i], in.bias_values[i]).second)
      throw Error(ErrorKind::kUsage,
                  "bias_ids: expected each id once, found " + std::to_string(in.bias_ids[i]) + " again");
  return out;
}

}  // namespace

seer_request default_request() {
  seer_request request = {};
  request.max_new_tokens = GenerateRequest().max_new_tokens;
  return request;
}

GenerateRequest request_of(const seer_request& in, const SamplingParams& default_sampling) {
  GenerateRequest out;
  if (in.n_prompt > 0) check_pointer(in.prompt, "the prompt");
  out.prompt.assign(in.prompt, in.prompt + in.n_prompt);
  out.max_new_tokens = in.max_new_tokens;
  out.sampling = default_sampling;
  if (in.sampling != nullptr)
    out.sampling = sampling_of(from_caller(in.sampling, sampling_to_c({}), "seer_sampling"));
  if (in.n_stop > 0) check_pointer(in.stop, "the stop strings");
  for (size_t i = 0; i < in.n_stop; ++i) {
    check_pointer(in.stop[i], "every stop string");
    out.stop.emplace_back(in.stop[i]);
  }
  out.ignore_eos = in.ignore_eos != 0;
  if (in.n_stop_token_ids > 0) check_pointer(in.stop_token_ids, "stop_token_ids");
  out.stop_token_ids.assign(in.stop_token_ids, in.stop_token_ids + in.n_stop_token_ids);
  out.min_new_tokens = in.min_new_tokens;
  if (in.has_logprobs != 0) out.n_logprobs = in.n_logprobs;
  if (in.has_prompt_logprobs != 0) out.n_prompt_logprobs = in.n_prompt_logprobs;
  if (in.sparse != nullptr) out.sparse = SparseRule::parse(in.sparse);
  if (in.sparse_decode != nullptr) out.sparse_decode = SparseDecodeRule::parse(in.sparse_decode);
  void* user = in.user;
  if (const auto on_token = in.on_token; on_token != nullptr)
    out.on_token = [=](const TokenEvent& event) {
      // A string view has no zero byte at its end, but C needs one.
      const std::string text(event.text);
      return on_token(user, event.id, text.c_str(), text.size()) != 0;
    };
  if (const auto on_progress = in.on_progress; on_progress != nullptr)
    out.on_progress = [=](const PrefillProgress& p) {
      const seer_progress progress = {p.total, p.cached, p.processed, p.time_ms};
      return on_progress(user, &progress) != 0;
    };
  if (const auto on_logits = in.on_logits; on_logits != nullptr)
    out.on_logits = [=](std::span<const int32_t> tokens, std::span<float> logits) {
      if (on_logits(user, tokens.data(), tokens.size(), logits.data(), logits.size()) == 0)
        throw Error(ErrorKind::kRuntime, "the request's on_logits returned 0");
    };
  if (const auto on_end = in.on_end; on_end != nullptr) out.on_end = [=] { on_end(user); };
  return out;
}

namespace {

seer_finish finish_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return SEER_FINISH_LENGTH;
    case FinishReason::kEos:
      return SEER_FINISH_EOS;
    case FinishReason::kStopString:
      return SEER_FINISH_STOP_STRING;
    case FinishReason::kContextFull:
      return SEER_FINISH_CONTEXT_FULL;
    case FinishReason::kStopToken:
      return SEER_FINISH_STOP_TOKEN;
    case FinishReason::kCancelled:
      break;
  }
  return SEER_FINISH_CANCELLED;
}

std::vector<seer_position_logprobs> logprobs_to_c(const std::vector<PositionLogprobs>& in) {
  // Both structs have the same layout, so a list of one can be used as a list of the other.
  static_assert(sizeof(seer_logprob) == sizeof(TokenLogprob) &&
                offsetof(seer_logprob, logprob) == offsetof(TokenLogprob, logprob));
  std::vector<seer_position_logprobs> out;
  out.reserve(in.size());
  for (const PositionLogprobs& p : in)
    out.push_back({{p.token.id, p.token.logprob},
                   p.top.empty() ? nullptr : reinterpret_cast<const seer_logprob*>(p.top.data()),
                   p.top.size()});
  return out;
}

}  // namespace

ResultArrays arrays_of(const GenerateResult& in) {
  return {logprobs_to_c(in.logprobs), logprobs_to_c(in.prompt_logprobs)};
}

seer_result result_to_c(const GenerateResult& in, const ResultArrays& arrays) {
  seer_result out = {};
  out.finish = finish_of(in.finish);
  out.tokens = in.tokens.empty() ? nullptr : in.tokens.data();
  out.n_tokens = in.tokens.size();
  out.text = in.text.c_str();
  out.text_size = in.text.size();
  out.stop = in.stop.c_str();
  out.n_prompt = in.stats.n_prompt;
  out.n_cached = in.stats.n_cached;
  out.n_generated = in.stats.n_generated;
  out.prefill_ns = in.stats.prefill_ns;
  out.decode_ns = in.stats.decode_ns;
  out.attention_ns = in.stats.attention_ns;
  out.gate_ns = in.stats.gate_ns;
  out.density = in.stats.density;
  out.decode_density = in.stats.decode_density;
  out.moved_pages = in.stats.moved_pages;
  out.movable_pages = in.stats.movable_pages;
  out.n_from_host = in.stats.n_from_host;
  out.n_from_disk = in.stats.n_from_disk;
  out.restore_ns = in.stats.restore_ns;
  out.stop_id = in.stop_id;
  out.logprobs = arrays.logprobs.empty() ? nullptr : arrays.logprobs.data();
  out.n_logprobs = arrays.logprobs.size();
  out.prompt_logprobs = arrays.prompt_logprobs.empty() ? nullptr : arrays.prompt_logprobs.data();
  out.n_prompt_logprobs = arrays.prompt_logprobs.size();
  return out;
}

}  // namespace seer::c_api

using namespace seer::c_api;

seer_status seer_sampling_init(seer_sampling* sampling, size_t size, const seer_engine* engine) {
  return guard([&] {
    to_caller(
        sampling, size,
        sampling_to_c(engine == nullptr ? seer::SamplingParams() : engine->engine->model().default_sampling),
        "seer_sampling");
  });
}

seer_status seer_request_init(seer_request* request, size_t size) {
  return guard([&] { to_caller(request, size, default_request(), "seer_request"); });
}
