#include "kernels/cpu/team_size.h"

#include <algorithm>

namespace seer {
namespace {

constexpr int64_t kMicrosecond = 1000, kMillisecond = 1000 * kMicrosecond;

// A team is judged after this much time in regions. The system gives a core away for some 3 ms at a time, so
// a window contains both stalls and the work between them.
constexpr int64_t kWindow = 8 * kMillisecond;

// A failed trial next to a busy process loses about half of a window. If trials fail one after another, they
// become rare, so that they cost a few percent.
constexpr int64_t kLeastBackoff = 4 * kMillisecond, kMostBackoff = 256 * kMillisecond;
constexpr int64_t kSettled = 64 * kMillisecond;  // a team that lasts this long after a trial has succeeded

// Without other processes, the caller waits for at most the task that another thread took last.
constexpr int64_t kLeastStall = 200 * kMicrosecond;
constexpr int64_t kStallTasks = 4;

}  // namespace

void TeamSize::begin(int64_t now) {
  if (size_ == most_ || trial_ || now < next_trial_) return;
  ++size_;
  trial_ = true;
  grown_ = now;
  sums_ = {};
}

void TeamSize::end(int64_t now, const Region& region) {
  const int64_t elapsed = region.own + region.wait;
  const int64_t per_task = region.own_tasks > 0 ? region.own / region.own_tasks : 0;
  // The caller came too late for any task, so the others needed about the time for which it waited.
  const int64_t saved = region.own_tasks > 0 ? (region.n_tasks - region.own_tasks) * per_task : region.wait;
  // The caller may itself have lost its core during a task, and then per_task is too long.
  sums_.saved += std::min(saved, (size_ - 1) * elapsed);
  sums_.own += region.own;
  sums_.wait += region.wait;
  if (region.wait > std::max(kLeastStall, kStallTasks * per_task)) sums_.stalled += region.wait;
  if (sums_.own + sums_.wait >= kWindow) judge(now);
}

void TeamSize::judge(int64_t now) {
  const int64_t work = sums_.own + sums_.saved, elapsed = sums_.own + sums_.wait;
  if (sums_.wait > sums_.saved) {  // the caller alone would have been faster
    shrink(now, size_ / 2);
  } else if (2 * sums_.stalled > sums_.wait && (size_ - 1) * elapsed > work) {
    shrink(now, size_ - 1);  // this team without stalls would have been faster
  }
  trial_ = false;
  sums_ = {};
}

void TeamSize::shrink(int64_t now, int size) {
  const bool failed = now - grown_ < kSettled;
  backoff_ = failed ? std::clamp(2 * backoff_, kLeastBackoff, kMostBackoff) : kLeastBackoff;
  size_ = std::max(1, size);
  next_trial_ = now + backoff_;
}

}  // namespace seer
