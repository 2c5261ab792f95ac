#include "engine/src/session_impl.h"

#include <algorithm>
#include <chrono>

#include "engine/src/gate_rows.h"
#include "engine/src/text_stream.h"

namespace seer {
namespace {

using Clock = std::chrono::steady_clock;

int64_t ns_since(Clock::time_point begin) { return std::chrono::nanoseconds(Clock::now() - begin).count(); }

}  // namespace

class SessionImpl::Running {
 public:
  explicit Running(std::atomic<int>* state) : state_(state) { state_->store(kRunning); }
  ~Running() { state_->store(kIdle); }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  std::atomic<int>* state_;
};

SessionImpl::SessionImpl(std::shared_ptr<EngineImpl> engine)
    : engine_(std::move(engine)), sequence_(&engine_->pages(), engine_->info().page_tokens) {}

SessionImpl::~SessionImpl() { reset(); }

void SessionImpl::reset() {
  const std::lock_guard lock(engine_->mutex);
  sequence_.clear();
}

void SessionImpl::cancel() noexcept {
  int running = kRunning;
  state_.compare_exchange_strong(running, kCancelled);
}

void SessionImpl::append_prompt(std::span<const int32_t> ids) {
  const int64_t total = sequence_.n_tokens() + static_cast<int64_t>(ids.size()),
                ctx = engine_->info().ctx_size;
  if (total == 0) throw Error(ErrorKind::kUsage, "the prompt is empty: expected at least one token");
  engine_->check_tokens(ids);
  if (total > ctx)
    throw Error(ErrorKind::kUsage, "the prompt of " + std::to_string(total) +
                                       " tokens is longer than the context of " + std::to_string(ctx) +
                                       ". Shorten it or use a larger --ctx-size.");
  sequence_.append(ids);
}

GenerateResult SessionImpl::generate(const GenerateRequest& request) {
  const SparseRule rule = engine_->resolve(request.sparse);
  const std::vector<int32_t>& eos_ids = engine_->model().eos_ids;
  Sampler sampler(request.sampling, request.ignore_eos ? eos_ids : std::vector<int32_t>());
  const TextTokenizer* tokenizer = engine_->text_tokenizer();
  const auto special = [&](int32_t id) { return tokenizer != nullptr && tokenizer->is_special(id); };
  const bool at_start = std::all_of(tokens().begin(), tokens().end(), special) &&
                        std::all_of(request.prompt.begin(), request.prompt.end(), special);
  TextStream text(tokenizer, request.stop, at_start);
  append_prompt(request.prompt);
  const Running running(&state_);

  GenerateResult result;
  int32_t next = -1;
  Prefill prefill_request{rule, 1, nullptr, nullptr, request.on_progress};
  prefill_request.on_logits = [&](int64_t, const Tensor& last) {
    next = choose(&sampler, last);  // asked for or not: the prefill's time ends with it
    return true;
  };
  if (!prefill(prefill_request, &result.stats)) {
    result.finish = FinishReason::kCancelled;
    return result;
  }
  const Clock::time_point first_token = Clock::now();
  Clock::time_point last_token = first_token;
  // A session of the context's length has no room for the next token's keys.
  const int64_t limit = request.max_new_tokens < 0 ? engine_->info().ctx_size : request.max_new_tokens;
  bool done = limit == 0;
  while (!done) {
    if (cancelled()) {
      result.finish = FinishReason::kCancelled;
      break;
    }
    const int32_t id = sampler.accept(next);
    last_token = Clock::now();
    sequence_.append(id);
    ++result.stats.n_generated;
    const bool eos = std::find(eos_ids.begin(), eos_ids.end(), id) != eos_ids.end();
    std::string piece;
    if (eos) {
      result.finish = FinishReason::kEos;
    } else {
      result.tokens.push_back(id);
      piece = text.push(id);
      done = true;  // unless none of these holds
      if (text.stopped()) {
        result.finish = FinishReason::kStopString;
        result.stop = text.stop();
      } else if (result.stats.n_generated == limit) {
        result.finish = FinishReason::kLength;
      } else if (sequence_.n_tokens() >= engine_->info().ctx_size) {
        result.finish = FinishReason::kContextFull;
      } else {
        done = false;
      }
    }
    done = done || eos;
    if (done) piece += text.finish();
    result.text += piece;
    if (request.on_token && !request.on_token({id, piece}) && !done) {
      result.finish = FinishReason::kCancelled;
      break;
    }
    if (!done) next = decode_step(&sampler, &result.stats);
  }
  result.stats.decode_ns = std::chrono::nanoseconds(last_token - first_token).count();
  return result;
}

RequestStats SessionImpl::evaluate(const EvaluateRequest& request) {
  const SparseRule rule = engine_->resolve(request.sparse);
  if (request.n_last_logits < 0)
    throw Error(ErrorKind::kUsage, "expected logits of 0 (all) or more positions, found " +
                                       std::to_string(request.n_last_logits));
  reset();
  append_prompt(request.tokens);
  const Running running(&state_);
  const int64_t n = sequence_.n_tokens();
  std::vector<float> host;
  RequestStats stats;
  Prefill prefill_request{rule, request.n_last_logits == 0 ? n : std::min(n, request.n_last_logits), nullptr,
                          request.on_gate, request.on_progress};
  bool stopped = false;
  prefill_request.on_logits = [&](int64_t position, const Tensor& logits) {
    if (!request.on_logits || stopped) return false;
    host.resize(static_cast<size_t>(logits.numel()));
    engine_->backend().read(host.data(), logits);
    stopped = !request.on_logits(position, logits.dim(0), logits.dim(1), host.data());
    if (stopped) cancel();
    return !stopped;
  };
  if (!prefill(prefill_request, &stats)) throw Error(ErrorKind::kCancelled, "the evaluation was cancelled");
  return stats;
}

bool SessionImpl::prefill(const Prefill& request, RequestStats* stats) {
  const Clock::time_point begin = Clock::now();
  const int64_t total = sequence_.n_tokens();
  const bool dynamic = engine_->config().rope.type == RopeConfig::Type::kDynamic;
  stats->n_cached = sequence_.begin_prefill(request.rule, engine_->last_block_dense(), dynamic);
  DecoderStats blocks;
  const auto proceed = [&] {
    const PrefillProgress progress{total, stats->n_cached, stats->n_prompt,
                                   1e-6 * static_cast<double>(ns_since(begin))};
    return (!request.on_progress || request.on_progress(progress)) && !cancelled();
  };
  bool going = false;
  try {
    going = proceed();
    while (going && sequence_.n_computed() < total) {
      const int64_t n = std::min(engine_->info().chunk_size, total - sequence_.n_computed());
      const DecoderStats chunk = prefill_chunk(request, n, stats);
      blocks.kept_blocks += chunk.kept_blocks;
      blocks.causal_blocks += chunk.causal_blocks;
      going = proceed();
    }
  } catch (...) {
    const std::lock_guard lock(engine_->mutex);
    sequence_.drop_uncomputed();
    throw;
  }
  stats->prefill_ns = ns_since(begin);
  if (blocks.causal_blocks > 0)
    stats->density = static_cast<double>(blocks.kept_blocks) / static_cast<double>(blocks.causal_blocks);
  if (going) return true;
  const std::lock_guard lock(engine_->mutex);
  sequence_.drop_uncomputed();
  return false;
}

DecoderStats SessionImpl::prefill_chunk(const Prefill& request, int64_t n_tokens, RequestStats* stats) {
  const std::lock_guard lock(engine_->mutex);
  sequence_.reserve(sequence_.n_computed() + n_tokens);
  const int64_t total = sequence_.n_tokens(), start = sequence_.n_computed();
  const Segment segment{0, n_tokens, start, sequence_.page_table()};
  PrefillPlan plan{total, std::nullopt};
  if (request.rule.method != SparseRule::Method::kDense) {
    SelectRule select;
    select.method = request.rule.method == SparseRule::Method::kThreshold ? SelectRule::Method::kThreshold
                                                                          : SelectRule::Method::kNzRatio;
    select.value = request.rule.value;
    select.last_block_dense = engine_->last_block_dense();
    const int64_t page = engine_->info().page_tokens;
    select.n_prompt_blocks = (total + page - 1) / page;
    plan.select = select;
  }
  std::vector<int64_t> rows;
  for (int64_t t = std::max(start, total - request.n_logits); t < start + n_tokens; ++t)
    rows.push_back(t - start);

  DecoderStep in;
  in.ids = std::span(tokens()).subspan(static_cast<size_t>(start), static_cast<size_t>(n_tokens));
  in.step = {n_tokens, {&segment, 1}, {}};
  in.plans = {&plan, 1};
  in.logit_rows = rows;
  in.on_logits = [&](int64_t first, const Tensor& logits) {
    return request.on_logits(start + rows[static_cast<size_t>(first)], logits);
  };
  if (request.on_gate)
    in.on_gate = [&](const GateReport& report) { report_gate_rows(report, request.on_gate); };
  Backend& backend = engine_->backend();
  backend.reset_phases();
  const DecoderStats blocks = engine_->decoder().forward(in);
  sequence_.computed(n_tokens);
  stats->n_prompt += n_tokens;
  stats->attention_ns += backend.phase_ns(Phase::kAttention);
  stats->gate_ns += backend.phase_ns(Phase::kGate);
  return blocks;
}

int32_t SessionImpl::decode_step(Sampler* sampler, RequestStats* stats) {
  const std::lock_guard lock(engine_->mutex);
  const int64_t position = sequence_.n_computed(), row = 0;
  sequence_.reserve(position + 1);
  const Segment segment{0, 1, position, sequence_.page_table()};
  DecoderStep in;
  in.ids = std::span(tokens()).subspan(static_cast<size_t>(position), 1);
  in.step = {1, {}, {&segment, 1}};
  in.logit_rows = {&row, 1};
  int32_t id = -1;
  in.on_logits = [&](int64_t, const Tensor& logits) {
    id = choose(sampler, logits);
    return true;
  };
  Backend& backend = engine_->backend();
  backend.reset_phases();
  engine_->decoder().forward(in);
  stats->decode_device_ns += backend.phase_ns(Phase::kStep);
  sequence_.computed(1);
  return id;
}

int32_t SessionImpl::choose(Sampler* sampler, const Tensor& logits) {
  const SampleRow row = sampler->next(tokens());
  int32_t id = -1;
  engine_->backend().sample({&id, 1}, logits, {&row, 1});
  return id;
}

}  // namespace seer
