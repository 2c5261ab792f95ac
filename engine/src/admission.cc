// Decides which requests run, and which one gives way if there are too few pages.
#include <algorithm>
#include <string>

#include "engine/src/scheduler.h"
#include "seer/error.h"

namespace seer {
namespace {

// How often later requests may be admitted before one that does not fit yet. Small requests gain by this; the
// limit keeps the large one from starving.
constexpr int64_t kMaxPassed = 32;

}  // namespace

// Admits waiting requests in order of arrival, as long as their tokens fit together with the tokens that
// running requests will need. Decodes may outgrow the pool later; then pre-emption decides.
bool Scheduler::admit(Lock* lock) {
  const int64_t n_owners = pages_->layout().n_owners;
  int64_t n_active = 0;
  std::vector<int64_t> promised(static_cast<size_t>(n_owners), 0);  // by owner, in pages
  const auto missing = [](Request& r, int64_t owner) {
    return r.sequence().n_missing(r.sequence().n_tokens() + 1, owner);
  };
  const auto promise = [&](Request& r) {
    for (int64_t o = 0; o < n_owners; ++o) promised[static_cast<size_t>(o)] += missing(r, o);
  };
  for (const auto& request : live_) {
    if (request->state != Request::State::kRunning) continue;
    promise(*request);
    if (!request->parked()) ++n_active;
  }
  bool any = false;
  Request* passed = nullptr;  // the first request that does not fit
  // Callbacks run without the lock and may submit requests, so live_ can grow meanwhile.
  for (size_t i = 0; i < live_.size() && n_active < limits_.max_batch_size; ++i) {
    const std::shared_ptr<Request> request = live_[i];
    if (request->state != Request::State::kWaiting) continue;
    // Each running request gets a page of slack. Otherwise a pre-empted request would return at once, and be
    // pre-empted again.
    bool fits = true;
    for (int64_t o = 0; o < n_owners; ++o)
      fits = fits &&
             missing(*request, o) + promised[static_cast<size_t>(o)] + n_active <= pages_->n_available(o);
    if (n_active > 0 && !fits) {
      if (passed == nullptr) passed = request.get();
      continue;
    }
    if (passed != nullptr && passed->n_passed >= kMaxPassed) break;
    if (passed != nullptr) ++passed->n_passed;
    const bool again = request->started();
    request->state = Request::State::kRunning;
    request->start();
    if (!again) counts_.cached_tokens += request->stats().n_cached;
    begin_restore(*request, lock);
    promise(*request);
    ++n_active;
    any = true;
    deliver(*request, lock);
  }
  remove_ended();
  return any;
}

bool Scheduler::reserve(Request& request, int64_t n_tokens, Lock* lock) {
  while (!request.sequence().reserve(n_tokens)) {
    if (tiers_ && tiers_->wait_for_copies(lock)) continue;
    if (!make_room(request)) return false;
  }
  return true;
}

// Called if the pool is used up, cached pages included. Returns true if another request gave way to
// `request`, and false if `request` itself did, or none could. The oldest request never gives way to a
// younger one, so it makes progress, and in time all do.
bool Scheduler::make_room(Request& request) {
  Request *youngest = nullptr, *parked = nullptr;
  bool others = false;
  for (const auto& other : live_) {
    if (other.get() == &request || other->state == Request::State::kEnded) continue;
    if (other->sequence().n_pages() == 0) continue;
    if (other->arrival > request.arrival) youngest = other.get();
    if (other->parked()) {
      parked = other.get();
    } else {
      others = true;
    }
  }
  // A request that waits for its callback may wait for long, perhaps even for this request. So its age does
  // not protect it.
  Request* victim = youngest != nullptr ? youngest : others ? nullptr : parked;
  if (victim != nullptr) {
    pre_empt(*victim);
    return true;
  }
  if (others) {
    pre_empt(request);
    return false;
  }
  fail(request, std::make_exception_ptr(page_refusal(request.sequence(), request.sequence().n_tokens() + 1)));
  return false;
}

void Scheduler::pre_empt(Request& request) {
  abandon_restore(request);
  request.sequence().give_up_pages();
  if (request.state != Request::State::kRunning) return;  // pages of a session, from its last turn
  request.state = Request::State::kWaiting;
  ++counts_.n_preempted;
}

void Scheduler::reserve_at_any_price(Sequence* sequence, int64_t n_tokens, Lock* lock) {
  while (!sequence->reserve(n_tokens)) {
    if (tiers_ && tiers_->wait_for_copies(lock)) continue;
    const auto victim =
        std::find_if(live_.rbegin(), live_.rend(), [](const auto& r) { return r->sequence().n_pages() > 0; });
    if (victim == live_.rend()) throw page_refusal(*sequence, n_tokens);
    pre_empt(**victim);
  }
}

Error Scheduler::page_refusal(const Sequence& sequence, int64_t n_tokens) const {
  const int64_t held = pages_->n_used() - sequence.n_pages();
  return Error(ErrorKind::kMemory,
               "the KV cache is full: all " + std::to_string(pages_->n_pages()) + " pages of " +
                   std::to_string(limits_.page_tokens) + " tokens are in use, " + std::to_string(held) +
                   " of them by sessions that are open; this request needs " +
                   std::to_string(sequence.n_pages_for(n_tokens)) +
                   ". Reset or close sessions, or use a larger --pool-size or --ctx-size.");
}

}  // namespace seer
