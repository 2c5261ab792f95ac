#include "tools/seer/serve/http/worker_threads.h"

#include <algorithm>
#include <exception>
#include <utility>

namespace seer::serve {

bool WorkerThreads::enqueue(const void* owner, Task task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back({owner, std::move(task)});
  bool waits = false;
  // Idle threads that were woken for earlier tasks have not taken them yet, so both are counted.
  if (tasks_.size() > n_idle_ && threads_.size() < max_threads_) {
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::exception&) {
      if (threads_.empty()) {
        tasks_.pop_back();
        throw;
      }
      // If no thread can be started, the task waits for one of the existing threads.
      waits = true;
    }
  } else {
    waits = tasks_.size() > n_idle_;
  }
  wake_.notify_one();
  return waits;
}

WorkerThreads::Place WorkerThreads::look_at(const void* owner, const std::function<bool()>& given_up) {
  const std::lock_guard lock(mutex_);
  const auto at = std::find_if(tasks_.begin(), tasks_.end(),
                               [&](const Waiting& waiting) { return waiting.owner == owner; });
  if (at == tasks_.end()) return Place::kBegun;
  if (!given_up()) return Place::kWaits;
  tasks_.erase(at);
  return Place::kTaken;
}

void WorkerThreads::shutdown() {
  {
    const std::lock_guard lock(mutex_);
    shutting_down_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void WorkerThreads::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++n_idle_;
    wake_.wait(lock, [&] { return !tasks_.empty() || shutting_down_; });
    --n_idle_;
    if (tasks_.empty()) return;
    const Task task = std::move(tasks_.front().task);
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
}

}  // namespace seer::serve
