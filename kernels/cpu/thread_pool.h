// A fixed set of threads that run numbered tasks; the caller is one of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace seer {

class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return static_cast<int>(workers_.size()) + 1; }
  // Runs task(index, thread) for index in [0, n_tasks), thread in [0, n_threads()), and returns when all are
  // done. Tasks are handed out in order, one at a time, so put long ones first. Tasks may not throw.
  template <class Task>
  void run(int64_t n_tasks, Task&& task) {
    if (n_tasks <= 0) return;
    if (n_tasks == 1 || workers_.empty()) {
      for (int64_t i = 0; i < n_tasks; ++i) task(i, 0);
      return;
    }
    const auto call = [](void* context, int64_t index, int thread) {
      (*static_cast<std::remove_reference_t<Task>*>(context))(index, thread);
    };
    run_erased(n_tasks, call, const_cast<void*>(static_cast<const void*>(&task)));
  }

 private:
  using Call = void (*)(void* context, int64_t index, int thread);
  void run_erased(int64_t n_tasks, Call call, void* context);
  void work(int thread);
  void stop();
  void take_tasks(int thread);

  std::vector<std::thread> workers_;
  // Written by the caller before generation_ is raised, read by workers after they see it raised.
  Call call_ = nullptr;
  void* context_ = nullptr;
  int64_t n_tasks_ = 0;
  alignas(64) std::atomic<int64_t> next_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> busy_{0};  // workers not yet done with the current generation
  std::atomic<bool> stopping_{false};
};

// Cores this process may run on (its affinity mask), at least 1.
int available_cores();

}  // namespace seer
