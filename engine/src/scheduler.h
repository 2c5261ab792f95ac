// Continuous batching: which requests run, what each step computes, and whose pages go where. DESIGN.md of
// engine/ draws it.
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
#include "seer/error.h"
#include "seer/generation.h"

namespace seer {

struct SchedulerLimits {
  int64_t page_tokens = 0;
  int64_t chunk_size = 0;        // prompt tokens of a step in which nothing decodes
  int64_t mixed_chunk_size = 0;  // of one in which something does
  int64_t max_batch_size = 0;    // sequences of a step
  // How often StepRunner::check() is called while there is nothing to compute; 0: never.
  std::chrono::milliseconds check_interval{0};
};

class Scheduler {
 public:
  using Lock = std::unique_lock<std::mutex>;

  // `runner` and `pages` outlive it. With `pages`, everything here but what says otherwise is used under
  // mutex().
  Scheduler(StepRunner* runner, PrefixCache* pages, const SchedulerLimits& limits);
  // Ends what is still under way as cancelled. No session may be running.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // ---- without the mutex ----
  void submit(const std::shared_ptr<Request>& request);
  // Carries out a session's request and delivers it on this thread, until it has ended or `delivery` or
  // *cancelled stops it. Throws what it failed with, or what a callback threw. True: it ended by itself.
  bool run(const std::shared_ptr<Request>& request, const std::atomic<bool>& cancelled);
  EngineStats stats() const;
  // Why no step can be run any more; absent: steps can be run.
  std::optional<Error> failure() const;
  // Wakes whoever acts on a request's `cancelled`. Outlives the scheduler, for requests may.
  struct Signals {
    std::mutex mutex;
    std::condition_variable work;  // for the scheduler's thread
  };
  const std::shared_ptr<Signals>& signals() const { return signals_; }

  std::mutex& mutex() const { return signals_->mutex; }

  // The right to run the decoder, and to change the sequences of live requests. Handed on in the order it was
  // asked for. The lock is held again when the turn begins, and need not be held while it lasts.
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
  // For an evaluation, which no one can pre-empt: pages for n tokens of `sequence`, whoever has to give way.
  // The caller has the turn and the lock. Throws Error{kMemory}.
  void reserve_at_any_price(Sequence* sequence, int64_t n_tokens);
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
  // One step, by whoever has the turn. False where nothing was to be done.
  bool step(Lock* lock);
  void add(const std::shared_ptr<Request>& request);
  // A session that is alone drives its own steps: its tokens need not cross threads.
  bool one_session_alone() const { return live_.size() == 1 && live_.front()->of_session(); }
  bool end_cancelled();
  bool remove_ended() noexcept;
  void end(Request& request, int64_t EngineStats::*how);
  void fail(Request& request, std::exception_ptr error) noexcept;
  void fail_all(const std::exception_ptr& error) noexcept;
  // Tells users of ended requests and drops the last references to them, without the lock: callbacks are
  // destroyed with them, and these and what they hold may call the engine.
  void let_go(Lock* lock);
  // Queues a session's fresh events, and delivers a submitted request's, without the lock. The turn holder's.
  void deliver(Request& request, Lock* lock);

  // admission.cc
  bool admit(Lock* lock);
  bool reserve(Request& request, int64_t n_tokens);
  bool make_room(Request& request);
  void pre_empt(Request& request);
  Error page_refusal(const Sequence& sequence, int64_t n_tokens) const;

  // pack.cc
  void pack();
  void allot(int64_t budget);
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
  uint64_t next_ticket_ = 0, turn_ = 0;  // the turn is free where they are equal
  bool stopping_ = false;

  Requests live_;  // waiting and running, the oldest first
  // To be let go: a chain through Request::next_ended, for a request must be able to end without memory.
  std::shared_ptr<Request> ended_;
  std::shared_ptr<Request>* ended_end_ = &ended_;
  int64_t n_arrived_ = 0;
  int64_t n_exclusive_ = 0;  // requests that their callers carry out
  EngineStats counts_;
  std::optional<Error> failure_;

  // The turn holder's.
  Batch batch_;
  std::vector<Request*> prefilling_, decoding_;  // of the step being packed
  uint64_t n_shared_ = 0;                        // steps that several prompts shared
  std::thread thread_;                           // last: it uses all of the above
};

}  // namespace seer
