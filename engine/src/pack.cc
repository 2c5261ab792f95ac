// Decides what a step computes, and passes on its results.
#include <algorithm>

#include "engine/src/scheduler.h"
#include "seer/error.h"

namespace seer {
namespace {

// Returns whether the device has failed, so that no request's next step can succeed.
bool device_lost(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.kind() == ErrorKind::kDevice;
  } catch (...) {
    return false;
  }
}

}  // namespace

PrefillPlan prefill_plan(const Sequence& sequence) {
  if (!sequence.in_sparse_prompt()) return {sequence.prefill_end(), std::nullopt};
  return {sequence.prompt_tokens(), sequence.select()};
}

// Fills the next step: every running decode gets its token, and prompts get the rest.
void Scheduler::pack(Lock* lock) {
  batch_.clear();
  prefilling_.clear();
  decoding_.clear();
  for (const auto& request : live_) {
    request->allotted = 0;
    if (request->state != Request::State::kRunning || request->parked()) continue;
    if (request->restore && (!request->restore->started() || request->restore->has_news())) continue;
    if (request->sequence().prefilling()) {
      prefilling_.push_back(request.get());
    } else if (static_cast<int64_t>(decoding_.size()) < limits_.max_batch_size) {
      request->allotted = 1;
      decoding_.push_back(request.get());
    }
  }
  const auto room = static_cast<size_t>(limits_.max_batch_size) - decoding_.size();
  if (prefilling_.size() > room) prefilling_.resize(room);
  allot(decoding_.empty() ? limits_.chunk_size : std::min(limits_.chunk_size, limits_.mixed_chunk_size));
  // The oldest request goes first. Only a younger one gives way to it, and that one is not in the batch yet.
  // While it waits for pages, the lock may be free, and live_ may grow.
  for (size_t i = 0; i < live_.size(); ++i) {
    Request& request = *live_[i];
    if (request.allotted > 0 && request.state == Request::State::kRunning)
      if (!reserve(request, request.sequence().n_computed() + request.allotted, lock)) request.allotted = 0;
  }
  leave_out_early();
  for (Request* request : prefilling_)
    if (request->in_step()) add_prefill(*request);
  for (Request* request : decoding_)
    if (request->in_step()) add_decode(*request);
  for (const auto* requests : {&batch_.prefill_of, &batch_.decode_of})
    for (const Request* request : *requests)
      if (request->restore && !request->restore->layers->arrivals->complete())
        batch_.arrivals.push_back(request->restore->layers->arrivals);
}

// A request that would wait for layers of its pages, because it got less of the step than it was expected to
// get, would keep the step's other requests waiting too.
void Scheduler::leave_out_early() {
  early_.clear();
  bool others = false;
  for (const auto& request : live_) {
    if (!request->in_step()) continue;
    if (too_early(*request)) {
      early_.push_back(request.get());
    } else {
      others = true;
    }
  }
  if (others)
    for (Request* request : early_) request->allotted = 0;
}

// The oldest prompt gets half of the budget, and the shortest prompts get the other half. Thus a short prompt
// does not wait for a long one before it, and a long one does not wait for all the short ones after it. A
// budget of one page cannot be halved, so steps alternate.
void Scheduler::allot(int64_t budget) {
  if (prefilling_.empty()) return;
  const int64_t page = limits_.page_tokens;
  int64_t left = budget;
  const auto rest = [](Request* r) {
    return r->sequence().prefill_end() - r->sequence().n_computed() - r->allotted;
  };
  const auto give = [&](Request* r, int64_t most) {
    // A chunk that is not the last one ends at the end of a page, because the next chunk begins there.
    const int64_t n = std::min(most, left), taken = rest(r) <= n ? rest(r) : n / page * page;
    r->allotted += taken;
    left -= taken;
  };
  if (prefilling_.size() > 1) {
    give(prefilling_.front(), (left / page + static_cast<int64_t>(n_shared_++ % 2)) / 2 * page);
    std::stable_sort(prefilling_.begin() + 1, prefilling_.end(),
                     [&](Request* a, Request* b) { return rest(a) < rest(b); });
    for (size_t i = 1; i < prefilling_.size(); ++i) give(prefilling_[i], left);
  }
  give(prefilling_.front(), left);
}

void Scheduler::add_prefill(Request& request) {
  const Sequence& sequence = request.sequence();
  const int64_t start = sequence.n_computed(), end = start + request.allotted;
  batch_.prefills.push_back({batch_.n_tokens(), request.allotted, start, sequence.page_table()});
  batch_.plans.push_back(prefill_plan(sequence));
  batch_.prefill_of.push_back(&request);
  const int64_t first_row = batch_.n_tokens();
  batch_.ids.insert(batch_.ids.end(), sequence.tokens().begin() + start, sequence.tokens().begin() + end);
  for (int64_t t = std::max(start, request.first_prompt_logits());
       t < std::min(end, request.n_prompt_logits()); ++t) {
    batch_.host_rows.push_back({batch_.logit_rows.size(), &request, t, nullptr});
    batch_.logit_rows.push_back(first_row + t - start);
    batch_.samples.emplace_back();
    batch_.sampled_by.push_back(nullptr);
  }
  if (end < sequence.n_tokens()) return;
  if (request.wants_row()) batch_.host_rows.push_back({batch_.logit_rows.size(), &request, -1, nullptr});
  batch_.logit_rows.push_back(batch_.n_tokens() - 1);
  batch_.samples.push_back(request.next_sample());
  batch_.sampled_by.push_back(&request);
}

void Scheduler::add_decode(Request& request) {
  const Sequence& sequence = request.sequence();
  const int64_t position = sequence.n_computed();
  batch_.logit_rows.push_back(batch_.n_tokens());
  batch_.decodes.push_back({batch_.n_tokens(), 1, position, sequence.page_table()});
  batch_.decode_rules.push_back(request.decode_rule());
  batch_.decode_of.push_back(&request);
  batch_.ids.push_back(sequence.tokens()[static_cast<size_t>(position)]);
  // After a pre-emption, a token that was chosen before is computed again. The token after it is known then,
  // so no logits are wanted.
  const bool known = position + 1 < sequence.n_tokens();
  if (!known && request.wants_row())
    batch_.host_rows.push_back({batch_.logit_rows.size() - 1, &request, -1, nullptr});
  batch_.samples.push_back(known ? SampleRow{} : request.next_sample());
  batch_.sampled_by.push_back(known ? nullptr : &request);
}

void Scheduler::commit(Lock* lock) {
  take_results();
  const auto hand_on = [&](Request* request) {
    deliver(*request, lock);
    if (request->finished() && request->state != Request::State::kEnded)
      end(*request, &EngineStats::n_finished);
  };
  for (Request* request : batch_.prefill_of) hand_on(request);
  for (Request* request : batch_.decode_of) hand_on(request);
}

void Scheduler::take_results() {
  observe_step();
  int64_t n_prompt_tokens = 0;
  for (const Segment& segment : batch_.prefills) n_prompt_tokens += segment.n_tokens;
  // Every segment has tokens, but clang-tidy cannot know that.
  n_prompt_tokens = std::max<int64_t>(1, n_prompt_tokens);
  for (size_t i = 0; i < batch_.prefills.size(); ++i) {
    Request& request = *batch_.prefill_of[i];
    end_restore(request);
    const int64_t n = batch_.prefills[i].n_tokens, before = request.stats().n_prompt;
    request.prefilled(n, batch_.blocks[i], batch_.attention_ns * n / n_prompt_tokens,
                      batch_.gate_ns * n / n_prompt_tokens);
    counts_.prompt_tokens += request.stats().n_prompt - before;
  }
  for (size_t i = 0; i < batch_.decode_of.size(); ++i) {
    end_restore(*batch_.decode_of[i]);
    batch_.decode_of[i]->decoded(batch_.step_ns, batch_.decode_blocks[i]);
  }
  for (const HostRow& host : batch_.host_rows)
    if (host.error && host.request->state != Request::State::kEnded) fail(*host.request, host.error);
  for (size_t i = 0; i < batch_.sampled_by.size(); ++i) {
    Request* request = batch_.sampled_by[i];
    if (request == nullptr || request->state == Request::State::kEnded) continue;
    const int64_t before = request->stats().n_generated;
    try {
      request->chosen(batch_.chosen[i]);
    } catch (...) {
      fail(*request, std::current_exception());  // the error is the request's own; the others' tokens are
                                                 // valid
    }
    counts_.generated_tokens += request->stats().n_generated - before;
  }
}

void Scheduler::fail_step(const std::exception_ptr& error) {
  if (device_lost(error)) return fail_all(error);
  for (Request* request : batch_.prefill_of) fail(*request, error);
  for (Request* request : batch_.decode_of) fail(*request, error);
}

}  // namespace seer
