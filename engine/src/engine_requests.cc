// The checks of requests, and how requests begin.
#include <algorithm>
#include <string>
#include <utility>

#include "engine/src/engine_impl.h"
#include "engine/src/generation_impl.h"
#include "engine/src/select_rule.h"
#include "engine/src/session_impl.h"
#include "engine/src/tokenizer_impl.h"

namespace seer {

void check_rule(const SparseRule& rule, const ModelInfo& model) {
  if (rule.method == SparseRule::Method::kDense) return;
  if (!model.gates)
    throw Error(ErrorKind::kUsage,
                "the sparse rule " + rule.to_string() + " needs gates" +
                    (model.decode_gates ? " for prompts, and only gates for decoding were loaded."
                                        : ", and none were loaded.") +
                    " Name them with --gates.");
  if (rule.method == SparseRule::Method::kHeadThreshold && !model.gates->has_head_factors)
    throw Error(ErrorKind::kUsage,
                "the sparse rule " + rule.to_string() +
                    " needs gates with a factor for each head (seer_threshold_factors in "
                    "their config.json), and " +
                    model.gates->source +
                    " has none. Let seer tune --per-head --write make them, or use threshold=T.");
  SparseRule::parse(rule.to_string());  // refuses a value out of range
}

void check_rule(const SparseDecodeRule& rule, const ModelInfo& model) {
  if (rule.method == SparseDecodeRule::Method::kDense) return;
  if (!model.decode_gates)
    throw Error(ErrorKind::kUsage, "the sparse rule for decoding " + rule.to_string() +
                                       " needs gates for decoding, and " +
                                       (model.gates ? "only gates for prompts" : "none") +
                                       " were loaded. Name them with --gates.");
  SparseDecodeRule::parse(rule.to_string());  // refuses a value out of range
  const int64_t block = model.decode_gates->gate_block;
  if (rule.method == SparseDecodeRule::Method::kBudget && rule.value < static_cast<double>(block))
    throw Error(ErrorKind::kUsage, "expected a budget of at least one block of " + std::to_string(block) +
                                       " tokens, found " + rule.to_string());
}

std::unique_ptr<Session> EngineImpl::new_session() {
  check_process();
  return std::make_unique<SessionImpl>(std::static_pointer_cast<EngineImpl>(shared_from_this()));
}

SparseRule EngineImpl::resolve(const std::optional<SparseRule>& asked) const {
  if (!asked) return model_info_.gates ? model_info_.gates->default_rule : SparseRule{};
  check_rule(*asked, model_info_);
  return *asked;
}

SparseRule EngineImpl::resolve(const EvaluateRequest& request) const {
  const std::vector<float>& factors = request.head_factors;
  if (factors.empty()) return resolve(request.sparse);
  if (info_.n_ranks > 1)
    throw Error(ErrorKind::kUsage, "head_factors of a request need an engine of one rank, found " +
                                       std::to_string(info_.n_ranks) + " ranks");
  const int64_t n_layers = config().n_layers, n_heads = config().n_heads;
  if (static_cast<int64_t>(factors.size()) != n_layers * n_heads)
    throw Error(ErrorKind::kUsage, "head_factors: expected a factor for each of " + std::to_string(n_heads) +
                                       " heads of " + std::to_string(n_layers) + " layers, found " +
                                       std::to_string(factors.size()));
  for (const float factor : factors)
    if (!(factor > 0.0F && factor <= GateConfig::kMostHeadFactor))
      throw Error(ErrorKind::kUsage,
                  "head_factors: expected numbers above 0 and up to 1000, found " + std::to_string(factor));
  if (!request.sparse || request.sparse->method != SparseRule::Method::kHeadThreshold)
    return resolve(request.sparse);
  // Gates that have no factors of their own can follow the rule too.
  resolve(SparseRule{SparseRule::Method::kThreshold, request.sparse->value});
  return *request.sparse;
}

DecodeRule EngineImpl::resolve(const std::optional<SparseDecodeRule>& asked) const {
  if (!asked)
    return model_info_.decode_gates ? decode_rule(model_info_.decode_gates->default_rule) : DecodeRule{};
  check_rule(*asked, model_info_);
  return decode_rule(*asked);
}

void EngineImpl::check_tokens(std::span<const int32_t> ids) const {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= config().n_vocab)
      throw Error(ErrorKind::kUsage,
                  "token " + std::to_string(i) + " of the prompt is out of range: expected an id from 0 to " +
                      std::to_string(config().n_vocab - 1) + ", found " + std::to_string(ids[i]));
}

void EngineImpl::check_ids(std::span<const int32_t> ids, const std::string& what) const {
  for (const int32_t id : ids)
    if (id < 0 || id >= config().n_vocab)
      throw Error(ErrorKind::kUsage, what + ": expected ids from 0 to " +
                                         std::to_string(config().n_vocab - 1) + ", found " +
                                         std::to_string(id));
}

void EngineImpl::check_request(const GenerateRequest& asked) const {
  asked.sampling.validate();
  check_ids(asked.stop_token_ids, "stop_token_ids");
  std::vector<int32_t> biased;
  for (const auto& [id, bias] : asked.sampling.logit_bias) biased.push_back(id);
  check_ids(biased, "logit_bias");
  const int64_t most = asked.max_new_tokens;
  if (most < -1)
    throw Error(ErrorKind::kUsage,
                "expected max_new_tokens from 0 on, or -1 for as many as the context holds, found " +
                    std::to_string(most));
  if (asked.min_new_tokens < 0 || (most >= 0 && asked.min_new_tokens > most))
    throw Error(ErrorKind::kUsage,
                "expected min_new_tokens from 0 " +
                    (most >= 0 ? "to max_new_tokens, which is " + std::to_string(most) : std::string("on")) +
                    ", found " + std::to_string(asked.min_new_tokens));
  const auto check_number = [&](const std::optional<int64_t>& n, const char* name) {
    if (!n || (*n >= 0 && *n <= config().n_vocab)) return;
    throw Error(ErrorKind::kUsage, std::string("expected ") + name + " from 0 to the vocabulary's " +
                                       std::to_string(config().n_vocab) + ", found " + std::to_string(*n));
  };
  check_number(asked.n_logprobs, "n_logprobs");
  check_number(asked.n_prompt_logprobs, "n_prompt_logprobs");
}

void EngineImpl::check_prompt(std::span<const int32_t> ids, int64_t n_held) const {
  const int64_t total = n_held + static_cast<int64_t>(ids.size());
  if (total == 0) throw Error(ErrorKind::kUsage, "the prompt is empty: expected at least one token");
  check_tokens(ids);
  if (total <= info_.ctx_size) return;
  const char* advice =
      info_.ctx_size < info_.max_ctx_size ? ". Shorten it or use a larger --ctx-size."
      : config().window == info_.ctx_size
          ? ", the sliding attention window of this model, beyond which it is not supported. "
            "Shorten the prompt."
          : ", the most that this model was made for. Shorten the prompt.";
  throw Error(ErrorKind::kUsage, "the prompt of " + std::to_string(total) +
                                     " tokens is longer than the context of " +
                                     std::to_string(info_.ctx_size) + advice);
}

PrefillTraits EngineImpl::prefill_traits() const {
  return {info_.page_tokens, last_block_dense(), config().rope.type == RopeConfig::Type::kDynamic};
}

RequestSetup EngineImpl::setup(const GenerateRequest& asked, std::span<const int32_t> held) const {
  const TextTokenizer* tokenizer = text_tokenizer();
  const auto special = [&](int32_t id) { return tokenizer != nullptr && tokenizer->is_special(id); };
  check_request(asked);
  RequestSetup setup;
  if (tokenizer != nullptr)
    for (const std::string& stop : asked.stop)
      if (const int32_t id = tokenizer->added_id(stop); id >= 0) setup.stop_names.emplace_back(id, stop);
  setup.rule = resolve(asked.sparse);
  setup.decode_rule = resolve(asked.sparse_decode);
  setup.share_pages = info_.prefix_cache;
  setup.eos_ids = &model_info_.eos_ids;
  setup.tokenizer = tokenizer;
  setup.at_start = std::all_of(held.begin(), held.end(), special) &&
                   std::all_of(asked.prompt.begin(), asked.prompt.end(), special);
  setup.ctx_size = info_.ctx_size;
  setup.request.max_new_tokens = asked.max_new_tokens;
  setup.request.sampling = asked.sampling;
  setup.request.stop = asked.stop;
  setup.request.ignore_eos = asked.ignore_eos;
  setup.request.stop_token_ids = asked.stop_token_ids;
  setup.request.min_new_tokens = asked.min_new_tokens;
  setup.request.n_logprobs = asked.n_logprobs;
  setup.request.n_prompt_logprobs = asked.n_prompt_logprobs;
  setup.request.on_token = asked.on_token;
  setup.request.on_progress = asked.on_progress;
  setup.request.on_logits = asked.on_logits;
  setup.request.on_end = asked.on_end;
  return setup;
}

std::unique_ptr<Generation> EngineImpl::submit(GenerateRequest asked) {
  check_process();
  check_prompt(asked.prompt, 0);
  auto sequence = std::make_unique<Sequence>(pages_.get(), prefill_traits(), tiers());
  sequence->append(asked.prompt);
  auto request = std::make_shared<Request>(setup(asked, {}), std::move(sequence));
  auto generation = std::make_unique<GenerationImpl>(request, scheduler_->signals());
  scheduler_->submit(request);
  return generation;
}

}  // namespace seer
