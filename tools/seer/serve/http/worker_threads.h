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
  // Throws, and leaves the task out, if no thread can be started and there is none.
  void enqueue(Task task);
  void shutdown();  // runs what was enqueued, then ends the threads; further calls do nothing

 private:
  void work();

  const size_t max_threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  size_t n_idle_ = 0;
  bool shutting_down_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace seer::serve
