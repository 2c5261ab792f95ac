#include "engine/src/request.h"

#include <algorithm>
#include <utility>

#include "kernels/host_logits.h"

namespace seer {
namespace {

// How far a session's request may run ahead of the thread that delivers its tokens. This many tokens are
// enough to keep sessions in step with one another whatever their threads do. Chunks of a prompt are long,
// and are wasted if the callback says stop, so only one may be ahead.
constexpr int64_t kTokensAhead = 16;
constexpr int64_t kChunksAhead = 1;

int64_t ns_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::nanoseconds(end - begin).count();
}

BannedIds banned_ids(const RequestSetup& setup) {
  const GenerateRequest& asked = setup.request;
  BannedIds banned;
  if (asked.ignore_eos) banned.always = *setup.eos_ids;
  banned.n_first = asked.min_new_tokens;
  banned.at_first = *setup.eos_ids;
  banned.at_first.insert(banned.at_first.end(), asked.stop_token_ids.begin(), asked.stop_token_ids.end());
  for (const auto& [id, name] : setup.stop_names) banned.at_first.push_back(id);
  return banned;
}

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// Makes the list that is filled while the prompt is computed.
std::shared_ptr<std::vector<PositionLogprobs>> prompt_logprobs_of(const GenerateRequest& asked,
                                                                  int64_t n_tokens) {
  if (!asked.n_prompt_logprobs) return nullptr;
  auto list = std::make_shared<std::vector<PositionLogprobs>>();
  list->reserve(static_cast<size_t>(std::max<int64_t>(n_tokens - 1, 0)));
  return list;
}

}  // namespace

bool Delivery::deliver(const Event& event) {
  delivered_any_ = true;
  kept_ = event.n_tokens;
  result_.stats = event.stats;
  if (!event.is_token) {
    if (!request_->on_progress || request_->on_progress(event.progress)) return true;
    result_.finish = FinishReason::kCancelled;
    return false;
  }
  if (event.stats.n_generated == 1) first_token_ = event.at;
  result_.stats.decode_ns = ns_between(first_token_, event.at);
  if (event.stop_id < 0) result_.tokens.push_back(event.id);
  result_.text += event.text;
  if (event.logprobs) result_.logprobs.push_back(*event.logprobs);
  if (event.prompt_logprobs) result_.prompt_logprobs = *event.prompt_logprobs;
  if (event.last) {
    result_.finish = event.finish;
    result_.stop = event.stop;
    result_.stop_id = event.stop_id;
  }
  delivered_last_ = event.last;
  const TokenEvent token = {event.id, event.text, event.logprobs ? &*event.logprobs : nullptr,
                            event.prompt_logprobs.get()};
  // If the callback returns false at the last token, nothing changes: the generation was done.
  if (!request_->on_token || request_->on_token(token) || event.last) return true;
  result_.finish = FinishReason::kCancelled;
  return false;
}

Request::Request(RequestSetup setup, std::unique_ptr<Sequence> sequence)
    : changed(&own_changed_),
      setup_(std::move(setup)),
      own_(std::move(sequence)),
      sequence_(own_.get()),
      sampler_(setup_.request.sampling, banned_ids(setup_)),
      text_(setup_.tokenizer, setup_.request.stop, setup_.at_start),
      delivery_(&setup_.request),
      prompt_logprobs_(prompt_logprobs_of(setup_.request, sequence_->n_tokens())) {}

Request::Request(RequestSetup setup, Sequence* sequence, std::condition_variable* session_changed)
    : changed(session_changed),
      setup_(std::move(setup)),
      sequence_(sequence),
      sampler_(setup_.request.sampling, banned_ids(setup_)),
      text_(setup_.tokenizer, setup_.request.stop, setup_.at_start),
      delivery_(&setup_.request),
      prompt_logprobs_(prompt_logprobs_of(setup_.request, sequence_->n_tokens())) {}

bool Request::parked() const {
  return n_undelivered > (stats_.n_generated == 0 ? kChunksAhead : kTokensAhead);
}

GenerateResult Request::final_result() const {
  GenerateResult result = delivery_.result();
  const int64_t decode_ns = result.stats.decode_ns;
  result.stats = stats_;  // a prefill without callbacks has no event that brings them
  result.stats.decode_ns = decode_ns;
  // A request for no tokens has no event that brings the prompt's log-probabilities.
  if (finished_ && stats_.n_generated == 0 && prompt_logprobs_) result.prompt_logprobs = *prompt_logprobs_;
  return result;
}

void Request::start() {
  if (started_) {
    sequence_->resume();
    return;
  }
  started_ = true;
  started_at_ = Clock::now();
  stats_.n_cached = sequence_->begin_prefill({setup_.rule, !setup_.decode_rule.dense()}, setup_.share_pages,
                                             setup_.request.n_prompt_logprobs.has_value());
  report_progress();
}

void Request::prefilled(int64_t n_tokens, const DecoderStats& blocks, int64_t attention_ns, int64_t gate_ns) {
  sequence_->computed(n_tokens);
  if (stats_.n_generated > 0) return;  // the prompt is computed again after a pre-emption
  const int64_t n_prompt = sequence_->n_computed() - stats_.n_cached;
  if (n_prompt <= stats_.n_prompt) return;
  stats_.n_prompt = n_prompt;
  stats_.attention_ns += attention_ns;
  stats_.gate_ns += gate_ns;
  prompt_blocks_ += blocks;
  stats_.moved_pages += blocks.moved_pages;
  stats_.movable_pages += blocks.movable_pages;
  if (prompt_blocks_.causal_blocks > 0) stats_.density = prompt_blocks_.density();
  stats_.prefill_ns = ns_between(started_at_, Clock::now());
  report_progress();
}

void Request::restored(RestoreJob& job, int64_t page_tokens) {
  if (job.ended) restored_by(job, job.end);
  if (job.started() && job.ended && !job.layers->arrivals->complete()) return lose_expected(job);
  const bool starts = job.layers && job.layers->may_start && !job.ended;
  const int64_t n_there = starts ? job.n_pages() : job.n_loaded;
  const int64_t n_pages = n_there - std::exchange(job.n_taken, n_there);
  const int64_t all_of_host = job.pages_of[static_cast<size_t>(TierKind::kHost)];
  const int64_t n_of_host = all_of_host - std::exchange(job.n_taken_of_host, all_of_host);
  if (starts) {
    job.layers->started = true;
    sequence_->expect(n_pages * page_tokens);
  } else {
    sequence_->computed(n_pages * page_tokens);
  }
  // After a pre-emption, tokens come back that were counted before.
  const int64_t counted = stats_.n_cached + stats_.n_prompt, n_new = sequence_->n_computed() - counted;
  if (stats_.n_generated > 0 || n_new <= 0) return;
  stats_.n_cached += n_new;
  const int64_t from_tiers = std::min(n_new, n_pages * page_tokens);
  const int64_t from_host = std::min(from_tiers, n_of_host * page_tokens);
  stats_.n_from_host += from_host;
  stats_.n_from_disk += from_tiers - from_host;
  if (starts) job.layers->n_counted = from_host;
  stats_.prefill_ns = ns_between(started_at_, Clock::now());
  report_progress();
}

void Request::restored_by(const RestoreJob& job, Clock::time_point end) {
  stats_.restore_ns += ns_between(job.begin, end);
}

void Request::lose_expected(const RestoreJob& job) {
  sequence_->give_up_expected();
  stats_.n_cached -= job.layers->n_counted;
  stats_.n_from_host -= job.layers->n_counted;
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

void Request::decoded(int64_t step_ns, const DecoderStats& blocks) {
  sequence_->computed(1);
  stats_.decode_device_ns += step_ns;
  if (sequence_->n_computed() < sequence_->n_tokens()) return;  // computed again after a pre-emption
  decode_blocks_ += blocks;
  if (decode_blocks_.causal_blocks > 0) stats_.decode_density = decode_blocks_.density();
}

void Request::take_prompt_logits(int64_t position, std::span<const float> logits) {
  const int32_t id = sequence_->tokens()[static_cast<size_t>(position + 1)];
  const RowLogprobs row(logits, *setup_.request.n_prompt_logprobs);
  prompt_logprobs_->push_back(row.of(id, logits[static_cast<size_t>(id)]));
  n_taken_ = position + 1;
}

void Request::finish_row(const SampleRow& row, int32_t* chosen, std::vector<float>* scratch) {
  const GenerateRequest& asked = setup_.request;
  std::optional<RowLogprobs> logprobs;
  if (asked.n_logprobs) logprobs.emplace(logits_, *asked.n_logprobs);
  std::vector<float> before;  // kept because the hook and the choice of a token change logits_
  if (has_hook()) {
    if (logprobs) before = logits_;
    asked.on_logits(sequence_->tokens(), logits_);
    scratch->resize(static_cast<size_t>(choose_token_scratch(static_cast<int64_t>(logits_.size()))));
    *chosen = choose_token(logits_, row, scratch->data());
  }
  if (logprobs && *chosen >= 0)
    logprobs_ = logprobs->of(*chosen, (has_hook() ? before : logits_)[static_cast<size_t>(*chosen)]);
}

std::optional<FinishReason> Request::ended_by(int32_t id, Event* event) const {
  const bool eos = contains(*setup_.eos_ids, id), stop = contains(setup_.request.stop_token_ids, id);
  const auto named = std::find_if(setup_.stop_names.begin(), setup_.stop_names.end(),
                                  [&](const auto& name) { return name.first == id; });
  if (!eos && !stop && named == setup_.stop_names.end()) return std::nullopt;
  event->stop_id = id;
  if (eos) return FinishReason::kEos;
  if (stop) return FinishReason::kStopToken;
  event->stop = named->second;
  return FinishReason::kStopString;
}

void Request::chosen(int32_t id) {
  const GenerateRequest& asked = setup_.request;
  if (asked.max_new_tokens == 0) {  // only the prefill was wanted
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
  event.logprobs = std::exchange(logprobs_, std::nullopt);
  if (stats_.n_generated == 1) event.prompt_logprobs = prompt_logprobs_;
  event.last = true;  // the token is the last one unless none of the following holds
  if (const auto reason = ended_by(id, &event)) {
    event.finish = *reason;
  } else {
    event.text = text_.push(id, stats_.n_generated > asked.min_new_tokens);
    if (text_.stopped()) {
      event.finish = FinishReason::kStopString;
      event.stop = text_.stop();
    } else if (stats_.n_generated == limit) {
      event.finish = FinishReason::kLength;
    } else if (sequence_->n_tokens() >= setup_.ctx_size) {
      // A sequence as long as the context has no room for the next token's keys.
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
