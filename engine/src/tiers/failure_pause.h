// Says when to try again after a failure: not for each page, and less often the longer failures last.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>

namespace seer {

// Thread-safe.
class FailurePause {
 public:
  explicit FailurePause(std::chrono::milliseconds first) : first_(first), pause_(first) {}

  bool may_try() const {
    if (!failing_) return true;
    const std::lock_guard lock(mutex_);
    return Clock::now() >= next_;
  }
  // Returns whether this is the first failure in a row, which a person should be told of.
  bool failed() {
    const std::lock_guard lock(mutex_);
    if (failing_ && Clock::now() < next_) return false;  // it began before the pause, on another thread
    next_ = Clock::now() + pause_;
    pause_ = std::min(2 * pause_, 64 * first_);
    return !failing_.exchange(true);
  }
  // Returns whether this is the first success after failures.
  bool succeeded() {
    if (!failing_) return false;
    const std::lock_guard lock(mutex_);
    pause_ = first_;
    return failing_.exchange(false);
  }

 private:
  using Clock = std::chrono::steady_clock;
  const std::chrono::milliseconds first_;
  mutable std::mutex mutex_;
  std::chrono::milliseconds pause_;
  Clock::time_point next_;
  std::atomic<bool> failing_ = false;
};

}  // namespace seer
