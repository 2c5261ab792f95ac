#include "engine/src/evaluation.h"

#include <algorithm>
#include <bit>
#include <cassert>

#include "engine/src/gate_rows.h"

namespace seer {
namespace {

int64_t ns_since(Clock::time_point begin) { return std::chrono::nanoseconds(Clock::now() - begin).count(); }

// Reads a tensor of float32 or bf16 numbers.
std::vector<float> read_floats(Backend* backend, const Tensor& t) {
  std::vector<float> out(static_cast<size_t>(t.numel()));
  if (t.dtype == DType::kF32) {
    backend->read(out.data(), t);
    return out;
  }
  assert(t.dtype == DType::kBF16);
  std::vector<uint16_t> halves(out.size());
  backend->read(halves.data(), t);
  for (size_t i = 0; i < out.size(); ++i) out[i] = std::bit_cast<float>(uint32_t{halves[i]} << 16);
  return out;
}

}  // namespace

Evaluation::Evaluation(EngineImpl* engine, Sequence* sequence, const EvaluateRequest& request,
                       const SparseRule& rule, const DecodeRule& decode_rule, std::atomic<bool>* cancelled)
    : engine_(engine),
      sequence_(sequence),
      request_(request),
      rule_(rule),
      decode_rule_(decode_rule),
      n_prompt_(request.n_prompt == 0 ? n_tokens() : request.n_prompt),
      cancelled_(cancelled),
      n_logits_(request.n_last_logits == 0 ? n_tokens() : std::min(n_tokens(), request.n_last_logits)) {
  sequence->append(std::span(request.tokens).first(static_cast<size_t>(n_prompt_)));
}

RequestStats Evaluation::run() {
  Scheduler& scheduler = engine_->scheduler();
  {
    const std::lock_guard lock(scheduler.mutex());
    scheduler.count_started();
  }
  int64_t EngineStats::*how = &EngineStats::n_failed;
  const auto end = [&] {
    const std::lock_guard lock(scheduler.mutex());
    scheduler.count_ended(how);
    sequence_->drop_uncomputed();
  };
  try {
    compute();
    how = &EngineStats::n_finished;
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) how = &EngineStats::n_cancelled;
    end();
    throw;
  } catch (...) {
    end();
    throw;
  }
  end();
  return stats_;
}

void Evaluation::compute() {
  prefill();
  stats_.prefill_ns = ns_since(begin_);
  decode();
  if (request_.on_decode_gate_keys) report_gate_keys();
  stats_.moved_pages = blocks_.moved_pages;
  stats_.movable_pages = blocks_.movable_pages;
  if (blocks_.causal_blocks > 0) stats_.density = blocks_.density();
  if (decode_blocks_.causal_blocks > 0) stats_.decode_density = decode_blocks_.density();
}

void Evaluation::prefill() {
  {
    const std::lock_guard lock(engine_->scheduler().mutex());
    // The logits of every row may be asked for, so pages of other requests are of no use.
    sequence_->begin_prefill({rule_, !decode_rule_.dense()}, /*share_pages=*/false, /*whole=*/true);
  }
  go_on();
  while (!decoding()) {
    step(std::min(engine_->info().chunk_size, n_prompt_ - sequence_->n_computed()));
    go_on();
  }
}

void Evaluation::decode() {
  const auto begin = Clock::now();
  for (int64_t at = n_prompt_; at < n_tokens(); ++at) {
    sequence_->append(request_.tokens[static_cast<size_t>(at)]);
    step(1);
    go_on();
  }
  stats_.decode_ns = ns_since(begin);
}

void Evaluation::go_on() {
  const PrefillProgress progress{n_tokens(), 0, sequence_->n_computed(),
                                 1e-6 * static_cast<double>(ns_since(begin_))};
  const bool going = (!request_.on_progress || request_.on_progress(progress)) && !stopped_ && !*cancelled_;
  if (!going) throw Error(ErrorKind::kCancelled, "the evaluation was cancelled");
}

void Evaluation::step(int64_t n_tokens) {
  Scheduler& scheduler = engine_->scheduler();
  Scheduler::Lock lock(scheduler.mutex());
  const Scheduler::Turn turn(&scheduler, &lock);
  scheduler.reserve_at_any_price(sequence_, sequence_->n_computed() + n_tokens, &lock);
  lock.unlock();
  const bool decoded = decoding();
  (decoded ? decode_blocks_ : blocks_) += forward(n_tokens);
  lock.lock();
  sequence_->computed(n_tokens);
  if (!decoded) stats_.n_prompt += n_tokens;
  scheduler.count_step(decoded ? 0 : n_tokens);
}

DecoderStats Evaluation::forward(int64_t n_tokens) {
  const int64_t total = this->n_tokens(), start = sequence_->n_computed();
  const Segment segment{0, n_tokens, start, sequence_->page_table()};
  const bool decoded = decoding();
  std::vector<int64_t> rows;
  for (int64_t t = std::max(start, total - n_logits_); t < start + n_tokens; ++t) rows.push_back(t - start);

  PrefillPlan plan;
  DecoderStats decode_blocks;
  DecoderStep in;
  in.ids = std::span(sequence_->tokens()).subspan(static_cast<size_t>(start), static_cast<size_t>(n_tokens));
  if (decoded) {
    in.step = {n_tokens, {}, {&segment, 1}};
    in.decode_rules = {&decode_rule_, 1};
    in.decode_stats = {&decode_blocks, 1};
  } else {
    plan = prefill_plan(*sequence_);
    plan.head_factors = head_factors();
    in.step = {n_tokens, {&segment, 1}, {}};
    in.plans = {&plan, 1};
  }
  in.logit_rows = rows;
  in.on_logits = [&](int64_t first, const Tensor& logits) {
    return report(start + rows[static_cast<size_t>(first)], logits);
  };
  if (request_.on_gate)
    in.on_gate = [&](const GateReport& report) { report_gate_rows(report, request_.on_gate); };
  if (request_.on_decode_gate)
    in.on_decode_gate = [&](const DecodeGateReport& report) {
      report_decode_gate_rows(report, start, engine_->info().page_tokens, request_.on_decode_gate);
    };
  Backend& backend = engine_->backend();
  backend.reset_phases();
  const DecoderStats blocks = engine_->decoder().forward(in);
  if (decoded) return decode_blocks;
  stats_.attention_ns += backend.phase_ns(Phase::kAttention);
  stats_.gate_ns += backend.phase_ns(Phase::kGate);
  return blocks;
}

const float* Evaluation::head_factors() {
  if (request_.head_factors.empty()) return nullptr;
  if (!head_factors_) {
    // They are passed as integers, because a device may round floating-point weights.
    const Tensor host(const_cast<float*>(request_.head_factors.data()), DType::kI32,
                      {engine_->config().n_layers, engine_->config().n_heads});
    head_factors_ = engine_->backend().to_device(host, &buffers_);
  }
  return static_cast<const float*>(head_factors_.data);
}

void Evaluation::report_gate_keys() {
  const KvCache& cache = engine_->cache();
  const int64_t n_blocks = n_tokens() / cache.page_tokens();
  for (int64_t l = 0; l < engine_->config().n_layers; ++l) {
    const Tensor all = cache.layer(l).decode_gate_k;
    std::vector<float> keys;
    for (int64_t b = 0; b < n_blocks; ++b) {
      const std::vector<float> key =
          read_floats(&engine_->backend(), all.rows(sequence_->page_table()[b], 1));
      keys.insert(keys.end(), key.begin(), key.end());
    }
    request_.on_decode_gate_keys({l, n_blocks, all.dim(1), all.dim(2), keys.data()});
  }
}

bool Evaluation::report(int64_t position, const Tensor& logits) {
  if (stopped_ || (!request_.on_logits && !request_.on_losses)) return false;
  Backend& backend = engine_->backend();
  if (request_.on_logits) {
    logits_.resize(static_cast<size_t>(logits.numel()));
    backend.read(logits_.data(), logits);
    stopped_ = !request_.on_logits(position, logits.dim(0), logits.dim(1), logits_.data());
  }
  if (request_.on_losses && !stopped_) {
    const auto n = static_cast<size_t>(logits.dim(0));
    const auto first = static_cast<size_t>(position - (n_tokens() - n_logits_));
    losses_.resize(n);
    const auto begin = Clock::now();
    backend.token_losses(losses_, logits, std::span(request_.targets).subspan(first, n));
    // On a GPU this time would include the step before, for which the host waits here.
    if (!backend.has_own_memory()) stats_.losses_ns += ns_since(begin);
    stopped_ = !request_.on_losses(position, losses_);
  }
  return !stopped_;
}

}  // namespace seer
