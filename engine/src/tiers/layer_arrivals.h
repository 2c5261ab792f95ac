// Tells a step which layers of its pages have come, while another thread is still filling the later ones.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>

namespace seer {

// Thread-safe.
class LayerArrivals {
 public:
  explicit LayerArrivals(int64_t n_layers) : n_layers_(n_layers) {}

  // Waits until the first n layers of all pages have their contents. If fail() says that they do not come,
  // throws its error.
  void wait_for(int64_t n) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return n_arrived_ >= n || error_; });
    if (n_arrived_ < n) std::rethrow_exception(error_);
  }
  bool complete() const {
    const std::lock_guard lock(mutex_);
    return n_arrived_ == n_layers_;
  }

  // Returns when the last layer came. All must have come.
  std::chrono::steady_clock::time_point end() const {
    const std::lock_guard lock(mutex_);
    return end_;
  }

  // Says that the first n layers have their contents.
  void arrived(int64_t n) {
    const std::lock_guard lock(mutex_);
    n_arrived_ = n;
    end_ = std::chrono::steady_clock::now();
    changed_.notify_all();
  }
  // Says that the other layers do not come.
  void fail(std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    error_ = std::move(error);
    changed_.notify_all();
  }

 private:
  const int64_t n_layers_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  int64_t n_arrived_ = 0;
  std::chrono::steady_clock::time_point end_;
  std::exception_ptr error_;
};

}  // namespace seer
