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
};

}  // namespace seer
