// Continuous batching: decides which requests run, what each step computes, and which request gives way if
// pages are short. engine/DESIGN.md has a drawing and the terms.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/src/batch.h"
#include "engine/src/prefix_cache.h"
#include "engine/src/request.h"
#include "engine/src/tiers/tiered_pages.h"
#include "seer/error.h"
#include "seer/generation.h"

namespace seer {

struct SchedulerLimits {
  int64_t page_tokens = 0;
  int64_t chunk_size = 0;        // prompt tokens of a step in which nothing decodes
  int64_t mixed_chunk_size = 0;  // prompt tokens of a step in which something decodes
  int64_t max_batch_size = 0;    // sequences of a step
  // How often StepRunner::check() is called while there is nothing to compute; 0: never.
  std::chrono::milliseconds check_interval{0};
};

class Scheduler {
 public:
  using Lock = std::unique_lock<std::mutex>;

  // `runner` and `pages` must outlive it. `pages`, and all functions below that do not say otherwise, may be
  // used only under mutex().
  // `tiers` keeps pages that the pool gives up; it may be null.
  Scheduler(StepRunner* runner, PrefixCache* pages, const SchedulerLimits& limits,
            std::unique_ptr<TieredPages> tiers = nullptr);
  // Ends the remaining requests as cancelled. No session may be running.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // ---- without the mutex ----
  void submit(const std::shared_ptr<Request>& request);
  // Carries out a session's request and delivers it on this thread, until it has ended, or a callback or
  // `cancelled` stops it. Returns true if it ended by itself. Throws the error with which it failed, or the
  // exception of a callback.
  bool run(const std::shared_ptr<Request>& request, const std::atomic<bool>& cancelled);
  EngineStats stats() const;
  // Returns why no step can be run any more; absent if steps can be run.
  std::optional<Error> failure() const;
  // The mutex, and the condition that wakes the scheduler's thread, for example if a request is cancelled. It
  // may outlive the scheduler, because handles of requests may.
  struct Signals {
    std::mutex mutex;
    std::condition_variable work;  // for the scheduler's thread
  };
  const std::shared_ptr<Signals>& signals() const { return signals_; }

  std::mutex& mutex() const { return signals_->mutex; }

  // The right to run the decoder, and to change the sequences of live requests. One thread at a time has it,
  // in the order in which threads asked for it. The constructor waits for it without the lock, and returns
  // with the lock held; while the turn lasts, the lock need not be held.
  class Turn {
   public:
    Turn(Scheduler* scheduler, Lock* lock);
    ~Turn();  // leaves the lock held
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Scheduler* scheduler_;
    Lock* lock_;
  };
  // Runs `body` with the turn and without the lock.
  template <class Body>
  void with_turn(const Body& body) {
    Lock lock(mutex());
    const Turn turn(this, &lock);
    lock.unlock();
    body();
  }
  // Takes pages for n tokens of `sequence`, from any running request if need be. It is for an evaluation,
  // which cannot be pre-empted. The caller must have the turn and the lock, which may be released meanwhile.
  // Throws Error{kMemory}.
  void reserve_at_any_price(Sequence* sequence, int64_t n_tokens, Lock* lock);
  TieredPages* tiers() const { return tiers_.get(); }  // null if there are none
  // Counts a request that the caller carries out itself.
  void count_started();
  void count_step(int64_t n_prompt) { counts_.prompt_tokens += n_prompt, ++counts_.n_steps; }
  void count_ended(int64_t EngineStats::*how);

 private:
  friend class Turn;
  using Requests = std::vector<std::shared_ptr<Request>>;

  void loop();
  void wait_for_work(Lock* lock);
  void look_at_runner() noexcept;
  // Runs one step; the caller must have the turn. Returns false if there was nothing to do.
  bool step(Lock* lock);
  void add(const std::shared_ptr<Request>& request);
  // A session's request that is alone drives its own steps, so that its tokens need not cross threads.
  bool one_session_alone() const { return live_.size() == 1 && live_.front()->of_session(); }
  // Returns whether the session's request waits for pages from a tier, and has nothing else to do.
  bool waits_for_pages(const Request& r) const {
    return r.restore && !r.restore->has_news() && !r.restore->started();
  }
  bool end_cancelled();
  bool remove_ended() noexcept;
  void end(Request& request, int64_t EngineStats::*how);
  void fail(Request& request, std::exception_ptr error) noexcept;
  void fail_all(const std::exception_ptr& error) noexcept;
  // Tells users that their requests have ended, and drops the last references to these requests. Both happen
  // without the lock, because callbacks, and the destructors of what they hold, may call the engine.
  void let_go(Lock* lock);
  // Queues a session's fresh events, and delivers those of a submitted request without the lock. The caller
  // must have the turn.
  void deliver(Request& request, Lock* lock);

  // admission.cc
  bool admit(Lock* lock);
  bool reserve(Request& request, int64_t n_tokens, Lock* lock);
  bool make_room(Request& request);
  void pre_empt(Request& request);
  Error page_refusal(const Sequence& sequence, int64_t n_tokens) const;

  // restoring.cc
  bool restored_news() const;
  bool take_restored(Lock* lock);
  void begin_restore(Request& request, Lock* lock);
  void abandon_restore(Request& request);
  void end_restore(Request& request);
  bool too_early(Request& request) const;
  void observe_step();

  // pack.cc
  void pack(Lock* lock);
  void allot(int64_t budget);
  void leave_out_early();
  void add_prefill(Request& request);
  void add_decode(Request& request);
  void commit(Lock* lock);
  void take_results();
  void fail_step(const std::exception_ptr& error);

  StepRunner* runner_;
  PrefixCache* pages_;
  SchedulerLimits limits_;
  std::shared_ptr<Signals> signals_ = std::make_shared<Signals>();
  std::condition_variable turn_passed_;
  uint64_t next_ticket_ = 0, turn_ = 0;  // the turn is free if they are equal
  bool stopping_ = false;

  Requests live_;  // waiting and running, the oldest first
  // Requests for let_go(): a chain through Request::next_ended, because a request must be able to end without
  // an allocation.
  std::shared_ptr<Request> ended_;
  std::shared_ptr<Request>* ended_end_ = &ended_;
  int64_t n_arrived_ = 0;
  int64_t n_exclusive_ = 0;  // requests that their callers carry out
  EngineStats counts_;
  std::optional<Error> failure_;

  std::unique_ptr<TieredPages> tiers_;

  // Only the holder of the turn uses these.
  Batch batch_;
  std::vector<Request*> prefilling_, decoding_, early_;  // of the step being packed
  uint64_t n_shared_ = 0;                                // steps that several prompts shared
  std::thread thread_;                                   // last: it uses all of the above
};

}  // namespace seer
