// The threads that handlers run on. An answer that streams holds one for as long as it lasts, so threads are
// started when there is nobody free, up to a limit.
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
  // Returns whether the task has to wait for another one to end. `owner` is its name for look_at(). Throws,
  // and leaves the task out, if no thread can be started and there is none.
  bool enqueue(const void* owner, Task task);

  enum class Place { kBegun, kWaits, kTaken };
  // Calls `given_up` if the owner's task has not begun, which it does not while this lasts, and takes the
  // task out (kTaken) if that is true. `given_up` must not wait for anything.
  Place look_at(const void* owner, const std::function<bool()>& given_up);
  void shutdown();  // runs what was enqueued, then ends the threads; further calls do nothing

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
