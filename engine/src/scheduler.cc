#include "engine/src/scheduler.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/src/start_thread.h"
#include "seer/error.h"

namespace seer {

Scheduler::Scheduler(StepRunner* runner, PrefixCache* pages, const SchedulerLimits& limits,
                     std::unique_ptr<TieredPages> tiers)
    : runner_(runner), pages_(pages), limits_(limits), tiers_(std::move(tiers)) {
  if (tiers_) tiers_->attach(this);
  thread_ = start_thread("for the scheduler", [this] { loop(); });
}

Scheduler::~Scheduler() {
  {
    const std::lock_guard lock(mutex());
    stopping_ = true;
    signals_->work.notify_all();
  }
  thread_.join();
  Lock lock(mutex());
  for (const auto& request : live_) {
    request->delivery().result().finish = FinishReason::kCancelled;
    end(*request, &EngineStats::n_cancelled);
  }
  remove_ended();
  let_go(&lock);
  lock.unlock();
  if (tiers_) tiers_->stop();
}

Scheduler::Turn::Turn(Scheduler* scheduler, Lock* lock) : scheduler_(scheduler), lock_(lock) {
  const uint64_t ticket = scheduler->next_ticket_++;
  scheduler->turn_passed_.wait(*lock, [&] { return scheduler->turn_ == ticket; });
}

Scheduler::Turn::~Turn() {
  Scheduler& s = *scheduler_;
  if (!lock_->owns_lock()) lock_->lock();
  ++s.turn_;
  if (s.turn_ != s.next_ticket_) s.turn_passed_.notify_all();
  if (!s.live_.empty() && !s.one_session_alone()) s.signals_->work.notify_one();
}

void Scheduler::loop() {
  Lock lock(mutex());
  while (!stopping_) {
    bool idle = live_.empty() || one_session_alone();
    if (!idle) {
      const Turn turn(this, &lock);
      idle = !stopping_ && !one_session_alone() && !step(&lock);
    }
    if (ended_) {
      let_go(&lock);
      continue;
    }
    if (idle && !stopping_) wait_for_work(&lock);
  }
}

// Waits for work. While there is nothing to compute, only this thread checks that the other ranks are alive.
void Scheduler::wait_for_work(Lock* lock) {
  if (limits_.check_interval.count() == 0 || failure_) return signals_->work.wait(*lock);
  if (signals_->work.wait_for(*lock, limits_.check_interval) != std::cv_status::timeout || stopping_) return;
  const Turn turn(this, lock);
  look_at_runner();
}

// Only the thread that has the scheduler's turn calls this, and it holds the lock. A check takes
// microseconds.
void Scheduler::look_at_runner() noexcept {
  if (failure_) return;
  try {
    runner_->check();
  } catch (const Error& error) {
    failure_ = error;
  } catch (...) {  // there was no memory for a message; the next check tries again
  }
}

std::optional<Error> Scheduler::failure() const {
  const std::lock_guard lock(mutex());
  return failure_;
}

void Scheduler::add(const std::shared_ptr<Request>& request) {
  live_.push_back(request);
  request->arrival = n_arrived_++;
  ++counts_.n_requests;
}

void Scheduler::submit(const std::shared_ptr<Request>& request) {
  const std::lock_guard lock(mutex());
  add(request);
  signals_->work.notify_one();
}

bool Scheduler::run(const std::shared_ptr<Request>& request, const std::atomic<bool>& cancelled) {
  std::vector<Event> events;
  std::exception_ptr thrown;
  bool stop = false;
  Lock lock(mutex());
  add(request);
  Request& r = *request;
  while (!stop) {
    if (r.events.empty() && r.removed) break;
    if (cancelled) {
      stop = true;
    } else if (!r.events.empty()) {
      events.clear();
      events.swap(r.events);
      lock.unlock();
      try {
        for (size_t i = 0; i < events.size() && !stop; ++i)
          stop = !r.delivery().deliver(events[i]) || (cancelled && !r.delivery().delivered_last());
      } catch (...) {
        thrown = std::current_exception();
        stop = true;
      }
      lock.lock();
      r.n_undelivered -= static_cast<int64_t>(events.size());
    } else if (one_session_alone() && !waits_for_pages(r)) {
      const Turn turn(this, &lock);
      if (one_session_alone()) step(&lock);
    } else {
      signals_->work.notify_one();
      r.changed->wait(lock);
    }
  }
  if (!r.removed) {
    // The thread that had the turn may have ended the request. Then it has also removed it.
    const Turn turn(this, &lock);
    if (r.state != Request::State::kEnded) thrown ? fail(r, thrown) : end(r, &EngineStats::n_cancelled);
    remove_ended();
  }
  let_go(&lock);
  if (stop && !thrown) r.delivery().result().finish = FinishReason::kCancelled;
  if (thrown) std::rethrow_exception(thrown);
  if (!stop && r.error) std::rethrow_exception(r.error);
  return !stop;
}

bool Scheduler::step(Lock* lock) try {
  if (tiers_) tiers_->before_step(lock);
  bool changed = end_cancelled();
  changed = take_restored(lock) || changed;
  changed = admit(lock) || changed;
  const int64_t n_preempted = counts_.n_preempted;
  pack(lock);
  changed = remove_ended() || changed;  // removes those that found no page
  // If a request gave way to another one that is waiting itself, the step is empty, but there is room for
  // that one now.
  changed = changed || counts_.n_preempted != n_preempted || restored_news();
  if (batch_.empty()) return changed;
  ++counts_.n_steps;
  lock->unlock();
  std::exception_ptr error;
  try {
    runner_->run(&batch_);
  } catch (...) {
    error = std::current_exception();
  }
  lock->lock();
  if (error) look_at_runner();
  error ? fail_step(error) : commit(lock);
  remove_ended();
  if (tiers_) tiers_->after_step();
  return true;
} catch (...) {  // the machine's own memory ran out; it is unknown which requests are affected
  if (!lock->owns_lock()) lock->lock();
  fail_all(std::current_exception());
  remove_ended();
  return true;
}

bool Scheduler::end_cancelled() {
  bool any = false;
  for (const auto& request : live_) {
    if (request->of_session() || !request->cancelled || request->state == Request::State::kEnded) continue;
    request->delivery().result().finish = FinishReason::kCancelled;
    end(*request, &EngineStats::n_cancelled);
    any = true;
  }
  return remove_ended() || any;
}

void Scheduler::end(Request& request, int64_t EngineStats::*how) {
  abandon_restore(request);
  if (tiers_ && request.started()) tiers_->used(&request.sequence());
  request.state = Request::State::kEnded;
  ++(counts_.*how);
}

void Scheduler::fail(Request& request, std::exception_ptr error) noexcept {
  request.error = std::move(error);
  end(request, &EngineStats::n_failed);
}

void Scheduler::fail_all(const std::exception_ptr& error) noexcept {
  for (const auto& request : live_)
    if (request->state != Request::State::kEnded) fail(*request, error);
}

bool Scheduler::remove_ended() noexcept {
  const auto ended = [](const auto& request) { return request->state == Request::State::kEnded; };
  if (std::none_of(live_.begin(), live_.end(), ended)) return false;
  for (const auto& request : live_) {
    if (!ended(request)) continue;
    // Pages are freed before anyone learns of the end, so that those who waited for it find them free.
    if (!request->of_session()) request->sequence().clear();
    request->removed = true;
    request->changed->notify_all();
    *ended_end_ = request;
    ended_end_ = &request->next_ended;
  }
  std::erase_if(live_, ended);
  // From now on that session's thread runs its steps.
  if (one_session_alone()) live_.front()->changed->notify_all();
  return true;
}

void Scheduler::let_go(Lock* lock) {
  std::shared_ptr<Request> gone = std::move(ended_);
  ended_end_ = &ended_;
  lock->unlock();
  while (gone) {
    if (!gone->of_session() && gone->asked().on_end) gone->asked().on_end();
    gone = std::move(gone->next_ended);
  }
  lock->lock();
}

void Scheduler::deliver(Request& request, Lock* lock) {
  std::vector<Event>& fresh = request.fresh();
  if (fresh.empty()) return;
  if (request.of_session()) {
    request.n_undelivered += static_cast<int64_t>(fresh.size());
    request.events.insert(request.events.end(), std::make_move_iterator(fresh.begin()),
                          std::make_move_iterator(fresh.end()));
    fresh.clear();
    request.changed->notify_all();
    return;
  }
  lock->unlock();
  bool go_on = true;
  std::exception_ptr thrown;
  try {
    for (size_t i = 0; i < fresh.size() && go_on; ++i) go_on = request.delivery().deliver(fresh[i]);
  } catch (...) {
    thrown = std::current_exception();
  }
  fresh.clear();
  lock->lock();
  if (thrown) {
    fail(request, thrown);
  } else if (!go_on) {
    end(request, &EngineStats::n_cancelled);
  }
}

EngineStats Scheduler::stats() const {
  EngineStats s;
  {
    const std::lock_guard lock(mutex());
    s = counts_;
    s.n_running = n_exclusive_;
    for (const auto& request : live_)
      ++(request->state == Request::State::kWaiting ? s.n_waiting : s.n_running);
    s.pages_total = pages_->n_pages();
    s.pages_used = pages_->n_used();
    s.pages_cached = pages_->n_cached();
    if (tiers_) tiers_->add_to(&s);
  }
  if (tiers_) tiers_->add_sizes(&s);
  return s;
}

void Scheduler::count_started() {
  ++counts_.n_requests;
  ++n_exclusive_;
}

void Scheduler::count_ended(int64_t EngineStats::*how) {
  --n_exclusive_;
  ++(counts_.*how);
}

}  // namespace seer
