// The threads that handlers run on. A streamed answer holds a thread for as long as it lasts, so a thread is
// started when none is free, up to a limit.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace seer::serve {

class WorkerThreads {
 public:
  explicit WorkerThreads(size_t max_threads) : max_threads_(max_threads) {}
  ~WorkerThreads() { shutdown(); }
  WorkerThreads(const WorkerThreads&) = delete;
  WorkerThreads& operator=(const WorkerThreads&) = delete;

  using Task = std::function<void()>;
  // Returns whether the task has to wait for another one to end. `owner` identifies it for look_at(). Throws,
  // and leaves the task out, if there is no thread and none can be started.
  bool enqueue(const void* owner, Task task);

  enum class Place { kBegun, kWaits, kTaken };
  // Calls `given_up` if the owner's task has not begun, and removes the task (kTaken) if that returns true.
  // The task does not begin during the call. `given_up` must not wait for anything.
  Place look_at(const void* owner, const std::function<bool()>& given_up);
  void shutdown();  // runs the enqueued tasks, then ends the threads; further calls do nothing

 private:
  struct Waiting {
    const void* owner;
    Task task;
  };
  void work();

  const size_t max_threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> tasks_;
  size_t n_idle_ = 0;
  bool shutting_down_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace seer::serve
