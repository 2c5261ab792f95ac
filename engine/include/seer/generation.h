// Many requests at once: what Engine::submit returns, and what the engine counts.
#pragma once

#include <cstdint>

#include "seer/request.h"

namespace seer {

// A request under way in the engine's batch. All functions may be called from any thread, callbacks of the
// request included (wait() apart: it would wait for itself). It does not keep its engine alive: where the
// engine is destroyed first, the request ends with FinishReason::kCancelled.
class SEER_API Generation {
 public:
  // Destroying one cancels it and does not wait: a callback may still be running, for the last time.
  virtual ~Generation() = default;

  // Blocks until the request has ended, its pages given back, and returns what came of it. Throws what it
  // failed with: Error{kMemory, kDevice, kRuntime}, or what a callback threw. Called again: the same answer.
  virtual GenerateResult wait() = 0;
  virtual bool done() const noexcept = 0;  // wait() would not block
  // Ends it at the next step with FinishReason::kCancelled. Of a request that has ended: forgotten.
  virtual void cancel() noexcept = 0;
};

// One consistent snapshot. Requests are those of submit(), Session::generate and Session::evaluate.
struct SEER_API EngineStats {
  int64_t n_waiting = 0, n_running = 0;  // requests now; one that was pre-empted is waiting
  // KV pages. used: held by requests and sessions; cached: kept for reuse by nobody in particular, and
  // evicted as soon as a page is needed. The rest is free.
  int64_t pages_total = 0, pages_used = 0, pages_cached = 0;
  // Since the engine was loaded. n_requests: all that were accepted; each of them that is over is finished,
  // cancelled or failed. n_preempted: how often a request's pages were taken from it.
  int64_t n_requests = 0, n_finished = 0, n_cancelled = 0, n_failed = 0, n_preempted = 0;
  // prompt_tokens: of prompts, computed; cached_tokens: of prompts, found in pages; recomputing after a
  // pre-emption is in neither.
  int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0;
  int64_t n_steps = 0;  // forward passes
};

}  // namespace seer
