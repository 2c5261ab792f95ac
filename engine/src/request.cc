#include "engine/src/request.h"

#include <algorithm>
#include <utility>

namespace seer {
namespace {

// How far a session's request may run ahead of the thread that delivers it. Tokens: enough that sessions stay
// in step with one another whatever their threads do. Chunks of a prompt are long, and wasted where the
// callback says stop: one.
constexpr int64_t kTokensAhead = 16;
constexpr int64_t kChunksAhead = 1;

int64_t ns_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::nanoseconds(end - begin).count();
}

}  // namespace

bool Delivery::take(const Event& event) {
  took_any_ = true;
  kept_ = event.n_tokens;
  result_.stats = event.stats;
  if (!event.is_token) {
    if (!request_->on_progress || request_->on_progress(event.progress)) return true;
    result_.finish = FinishReason::kCancelled;
    return false;
  }
  if (event.stats.n_generated == 1) first_token_ = event.at;
  result_.stats.decode_ns = ns_between(first_token_, event.at);
  if (!event.eos) result_.tokens.push_back(event.id);
  result_.text += event.text;
  if (event.last) {
    result_.finish = event.finish;
    result_.stop = event.stop;
  }
  took_last_ = event.last;
  // False at the last token changes nothing: the generation was done.
  if (!request_->on_token || request_->on_token({event.id, event.text}) || event.last) return true;
  result_.finish = FinishReason::kCancelled;
  return false;
}

Request::Request(RequestSetup setup, std::unique_ptr<Sequence> sequence)
    : changed(&own_changed_),
      setup_(std::move(setup)),
      own_(std::move(sequence)),
      sequence_(own_.get()),
      sampler_(setup_.request.sampling, setup_.request.ignore_eos ? *setup_.eos_ids : std::vector<int32_t>()),
      text_(setup_.tokenizer, setup_.request.stop, setup_.at_start),
      delivery_(&setup_.request) {}

Request::Request(RequestSetup setup, Sequence* sequence, std::condition_variable* session_changed)
    : changed(session_changed),
      setup_(std::move(setup)),
      sequence_(sequence),
      sampler_(setup_.request.sampling, setup_.request.ignore_eos ? *setup_.eos_ids : std::vector<int32_t>()),
      text_(setup_.tokenizer, setup_.request.stop, setup_.at_start),
      delivery_(&setup_.request) {}

bool Request::parked() const {
  return n_undelivered > (stats_.n_generated == 0 ? kChunksAhead : kTokensAhead);
}

GenerateResult Request::final_result() const {
  GenerateResult result = delivery_.result();
  const int64_t decode_ns = result.stats.decode_ns;
  result.stats = stats_;  // a prefill without callbacks has no event that brings them
  result.stats.decode_ns = decode_ns;
  return result;
}

void Request::start() {
  if (started_) {
    sequence_->resume();
    return;
  }
  started_ = true;
  started_at_ = Clock::now();
  stats_.n_cached = sequence_->begin_prefill(setup_.rule, setup_.share);
  report_progress();
}

void Request::prefilled(int64_t n_tokens, const DecoderStats& blocks, int64_t attention_ns, int64_t gate_ns) {
  sequence_->computed(n_tokens);
  if (stats_.n_generated > 0) return;  // computed again after a pre-emption
  const int64_t n_prompt = sequence_->n_computed() - stats_.n_cached;
  if (n_prompt <= stats_.n_prompt) return;
  stats_.n_prompt = n_prompt;
  stats_.attention_ns += attention_ns;
  stats_.gate_ns += gate_ns;
  kept_blocks_ += blocks.kept_blocks;
  causal_blocks_ += blocks.causal_blocks;
  stats_.moved_pages += blocks.moved_pages;
  stats_.movable_pages += blocks.movable_pages;
  if (causal_blocks_ > 0)
    stats_.density = static_cast<double>(kept_blocks_) / static_cast<double>(causal_blocks_);
  stats_.prefill_ns = ns_between(started_at_, Clock::now());
  report_progress();
}

void Request::report_progress() {
  if (!setup_.request.on_progress) return;
  Event& event = fresh_.emplace_back();
  event.at = Clock::now();
  event.progress = {sequence_->n_tokens(), stats_.n_cached, stats_.n_prompt,
                    1e-6 * static_cast<double>(ns_between(started_at_, event.at))};
  event.n_tokens = stats_.n_cached + stats_.n_prompt;
  event.stats = stats_;
}

void Request::decoded(int64_t step_ns) {
  sequence_->computed(1);
  stats_.decode_device_ns += step_ns;
}

void Request::chosen(int32_t id) {
  const GenerateRequest& asked = setup_.request;
  if (asked.max_new_tokens == 0) {  // the prefill was what was wanted
    finished_ = true;
    return;
  }
  sequence_->append(sampler_.accept(id));
  const int64_t limit = asked.max_new_tokens < 0 ? setup_.ctx_size : asked.max_new_tokens;
  ++stats_.n_generated;
  Event& event = fresh_.emplace_back();
  event.is_token = true;
  event.id = id;
  event.at = Clock::now();
  event.n_tokens = sequence_->n_tokens();
  event.eos = std::find(setup_.eos_ids->begin(), setup_.eos_ids->end(), id) != setup_.eos_ids->end();
  event.last = true;  // unless none of these holds
  if (event.eos) {
    event.finish = FinishReason::kEos;
  } else {
    event.text = text_.push(id);
    if (text_.stopped()) {
      event.finish = FinishReason::kStopString;
      event.stop = text_.stop();
    } else if (stats_.n_generated == limit) {
      event.finish = FinishReason::kLength;
    } else if (sequence_->n_tokens() >= setup_.ctx_size) {
      // A sequence of the context's length has no room for the next token's keys.
      event.finish = FinishReason::kContextFull;
    } else {
      event.last = false;
    }
  }
  if (event.last) event.text += text_.finish();
  finished_ = event.last;
  event.stats = stats_;
}

}  // namespace seer
