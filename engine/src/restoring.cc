// The scheduler's part in bringing pages back from the tiers below the pool.
#include <algorithm>

#include "engine/src/scheduler.h"

namespace seer {

bool Scheduler::restored_news() const {
  return std::any_of(live_.begin(), live_.end(),
                     [](const auto& request) { return request->restore && request->restore->has_news(); });
}

// Called after the request has taken those of its pages that the pool has. The caller has the turn.
void Scheduler::begin_restore(Request& request, Lock* lock) {
  if (!tiers_) return;
  Sequence& sequence = request.sequence();
  const bool alone = live_.size() == 1;
  request.restore = tiers_->begin_restore(&request, &sequence, sequence.in_sparse_prompt(),
                                          alone ? limits_.chunk_size : limits_.mixed_chunk_size, lock);
}

// The request ends or loses its pages. The caller has the turn, or the scheduler is being destroyed.
void Scheduler::abandon_restore(Request& request) {
  if (!request.restore) return;
  const std::shared_ptr<RestoreJob> job = std::move(request.restore);
  tiers_->abandon(job.get());
  if (!job->started() || job->layers->arrivals->complete()) return;
  const int64_t before = request.stats().n_cached;
  request.lose_expected(*job);
  counts_.cached_tokens += request.stats().n_cached - before;
}

// Gives requests the pages that have come for them. The caller has the turn, because sequences change.
bool Scheduler::take_restored(Lock* lock) {
  bool any = false;
  // Callbacks run without the lock and may submit requests, so live_ can grow meanwhile.
  for (size_t i = 0; i < live_.size(); ++i) {
    const std::shared_ptr<Request> request = live_[i];
    if (!request->restore || !request->restore->has_news()) continue;
    const std::shared_ptr<RestoreJob> job = request->restore;
    const int64_t before = request->stats().n_cached;
    if (job->ended) {
      request->restore = nullptr;
      tiers_->count_restored(*job, job->n_loaded, job->end);
    }
    request->restored(*job, limits_.page_tokens);
    counts_.cached_tokens += request->stats().n_cached - before;
    any = true;
    deliver(*request, lock);
  }
  remove_ended();
  return any;
}

// Returns whether the request's part of the step that is being packed is expected to wait for layers of its
// pages.
bool Scheduler::too_early(Request& request) const {
  if (!request.restore || request.restore->layers->arrivals->complete()) return false;
  const int64_t begin = request.sequence().n_computed();
  return !tiers_->in_time(*request.restore, begin, begin + request.allotted);
}

// Called after a step of the request. If the step waited for the request's pages, all of them are there now.
void Scheduler::end_restore(Request& request) {
  if (!request.restore || !request.restore->started()) return;
  const std::shared_ptr<RestoreJob> job = std::move(request.restore);
  const RestoreJob::Clock::time_point end = job->layers->arrivals->end();
  tiers_->count_restored(*job, job->n_pages(), end);
  request.restored_by(*job, end);
  tiers_->abandon(job.get());
}

// Learns how fast prompts are computed, from a step that computed one prompt and nothing else, and did not
// wait for pages.
void Scheduler::observe_step() {
  if (!tiers_ || batch_.prefills.size() != 1 || !batch_.decodes.empty() || !batch_.arrivals.empty()) return;
  const Segment& segment = batch_.prefills.front();
  tiers_->computed(segment.start, segment.end(), batch_.plans.front().select.has_value(),
                   1e-9 * static_cast<double>(batch_.step_ns));
}

}  // namespace seer
