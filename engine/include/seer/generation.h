// Requests that an engine computes together: the handle that Engine::submit returns, and the engine's counts.
#pragma once

#include <cstdint>

#include "seer/request.h"

namespace seer {

// A submitted request. All functions may be called from any thread, and all but wait() from the request's own
// callbacks, in which wait() would never return. It does not keep its engine alive: if the engine is
// destroyed first, the request ends with FinishReason::kCancelled.
class SEER_API Generation {
 public:
  // Cancels the request and does not wait: one callback may still be running afterwards.
  virtual ~Generation() = default;

  // Blocks until the request has ended and given its pages back, and returns its result. If it failed, throws
  // its error: Error{kMemory, kDevice, kRuntime}, or the exception of a callback. Every call has the same
  // outcome.
  virtual GenerateResult wait() = 0;
  virtual bool done() const noexcept = 0;  // wait() would not block
  // Ends the request at the next step with FinishReason::kCancelled; does nothing if it has ended.
  virtual void cancel() noexcept = 0;
};

// What a tier below the pool of KV pages holds, and what it has done since the engine was loaded
// (EngineOptions::host_cache_bytes, EngineOptions::disk_cache_dir).
struct SEER_API TierStats {
  int64_t n_pages = 0, n_bytes = 0;  // held now
  int64_t saved_pages = 0;           // written to the tier
  // Pages that the tier was to get and has not got: the pool needed their room first, or the tier had none.
  int64_t lost_pages = 0;
  int64_t restored_pages = 0, restored_tokens = 0, restored_bytes = 0;  // brought back into the pool
  int64_t restore_ns = 0;                                               // that reading them took
  // Pages that the tier had and could not give, because they were damaged, or gone when it was their turn.
  // They were computed again.
  int64_t failed_pages = 0;
};

// One consistent snapshot. It counts the requests of submit(), Session::generate and Session::evaluate.
struct SEER_API EngineStats {
  int64_t n_waiting = 0, n_running = 0;  // requests now; one that was pre-empted is waiting
  // KV pages. pages_used are held by requests and sessions. pages_cached are held by none; they are kept for
  // reuse until their room is needed. The other pages are free.
  int64_t pages_total = 0, pages_used = 0, pages_cached = 0;
  // Counts since the engine was loaded. n_requests: all accepted requests; each one that has ended is
  // finished, cancelled or failed. n_preempted: how often a request's pages were taken from it.
  int64_t n_requests = 0, n_finished = 0, n_cancelled = 0, n_failed = 0, n_preempted = 0;
  // prompt_tokens: prompts' tokens that were computed; cached_tokens: prompts' tokens that were found in
  // pages. Tokens that are computed again after a pre-emption are in neither.
  int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  int64_t n_steps = 0;  // forward passes
  TierStats host_cache, disk_cache;
  // By how much less time pages from the tiers took than computing their tokens would have taken, as expected
  // from the speed of earlier steps; negative if it was more. Pages that came before the first step that
  // computed a prompt of the same kind do not count.
  int64_t restore_saved_ns = 0;
  // Tokens that were computed although a tier had their pages, because computing was expected to be faster.
  int64_t refused_tokens = 0;
};

}  // namespace seer
