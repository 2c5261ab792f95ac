// The threads that connections are answered on. cpp-httplib's pool has a fixed number of them; an answer that
// streams holds one for as long as it lasts, so these are started when there is nobody free, up to a limit.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include <httplib.h>

namespace seer::serve {

class WorkerThreads final : public httplib::TaskQueue {
 public:
  explicit WorkerThreads(size_t max_threads) : max_threads_(max_threads) {}

  using Task = std::function<void()>;
  void enqueue(Task task) override;
  void shutdown() override;  // runs what was enqueued, then ends the threads

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
