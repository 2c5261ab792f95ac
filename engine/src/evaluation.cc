#include "engine/src/evaluation.h"

#include <algorithm>

#include "engine/src/gate_rows.h"

namespace seer {
namespace {

int64_t ns_since(Clock::time_point begin) { return std::chrono::nanoseconds(Clock::now() - begin).count(); }

}  // namespace

Evaluation::Evaluation(EngineImpl* engine, Sequence* sequence, const EvaluateRequest& request,
                       const SparseRule& rule, std::atomic<bool>* cancelled)
    : engine_(engine),
      sequence_(sequence),
      request_(request),
      rule_(rule),
      cancelled_(cancelled),
      n_logits_(request.n_last_logits == 0 ? sequence->n_tokens()
                                           : std::min(sequence->n_tokens(), request.n_last_logits)) {}

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
    prefill();
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

void Evaluation::prefill() {
  {
    const std::lock_guard lock(engine_->scheduler().mutex());
    // The logits of every row may be asked for, so pages of other requests are of no use.
    sequence_->begin_prefill(rule_, /*share_pages=*/false, /*whole=*/true);
  }
  const int64_t total = sequence_->n_tokens();
  bool going = go_on();
  while (going && sequence_->n_computed() < total) {
    chunk(std::min(engine_->info().chunk_size, total - sequence_->n_computed()));
    going = go_on();
  }
  stats_.prefill_ns = ns_since(begin_);
  stats_.moved_pages = blocks_.moved_pages;
  stats_.movable_pages = blocks_.movable_pages;
  if (blocks_.causal_blocks > 0)
    stats_.density = static_cast<double>(blocks_.kept_blocks) / static_cast<double>(blocks_.causal_blocks);
  if (!going) throw Error(ErrorKind::kCancelled, "the evaluation was cancelled");
}

bool Evaluation::go_on() {
  const PrefillProgress progress{sequence_->n_tokens(), 0, stats_.n_prompt,
                                 1e-6 * static_cast<double>(ns_since(begin_))};
  return (!request_.on_progress || request_.on_progress(progress)) && !logits_stopped_ && !*cancelled_;
}

void Evaluation::chunk(int64_t n_tokens) {
  Scheduler& scheduler = engine_->scheduler();
  Scheduler::Lock lock(scheduler.mutex());
  const Scheduler::Turn turn(&scheduler, &lock);
  scheduler.reserve_at_any_price(sequence_, sequence_->n_computed() + n_tokens);
  lock.unlock();
  const DecoderStats blocks = forward(n_tokens);
  blocks_ += blocks;
  lock.lock();
  sequence_->computed(n_tokens);
  stats_.n_prompt += n_tokens;
  scheduler.count_step(n_tokens);
}

DecoderStats Evaluation::forward(int64_t n_tokens) {
  const int64_t total = sequence_->n_tokens(), start = sequence_->n_computed();
  const Segment segment{0, n_tokens, start, sequence_->page_table()};
  const PrefillPlan plan = prefill_plan(*sequence_);
  std::vector<int64_t> rows;
  for (int64_t t = std::max(start, total - n_logits_); t < start + n_tokens; ++t) rows.push_back(t - start);

  DecoderStep in;
  in.ids = std::span(sequence_->tokens()).subspan(static_cast<size_t>(start), static_cast<size_t>(n_tokens));
  in.step = {n_tokens, {&segment, 1}, {}};
  in.plans = {&plan, 1};
  in.logit_rows = rows;
  in.on_logits = [&](int64_t first, const Tensor& logits) {
    return report_logits(start + rows[static_cast<size_t>(first)], logits);
  };
  if (request_.on_gate)
    in.on_gate = [&](const GateReport& report) { report_gate_rows(report, request_.on_gate); };
  Backend& backend = engine_->backend();
  backend.reset_phases();
  const DecoderStats blocks = engine_->decoder().forward(in);
  stats_.attention_ns += backend.phase_ns(Phase::kAttention);
  stats_.gate_ns += backend.phase_ns(Phase::kGate);
  return blocks;
}

bool Evaluation::report_logits(int64_t position, const Tensor& logits) {
  if (!request_.on_logits || logits_stopped_) return false;
  logits_.resize(static_cast<size_t>(logits.numel()));
  engine_->backend().read(logits_.data(), logits);
  logits_stopped_ = !request_.on_logits(position, logits.dim(0), logits.dim(1), logits_.data());
  return !logits_stopped_;
}

}  // namespace seer
