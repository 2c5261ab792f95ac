// A fixed set of threads that run numbered tasks; the caller is one of them.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

#include "kernels/cpu/team_size.h"

namespace seer {

class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return static_cast<int>(workers_.size()) + 1; }
  // Runs task(index, thread) for index in [0, n_tasks), thread in [0, n_threads()), and returns when all are
  // done. Tasks are handed out in order, one at a time, so put long ones first. Tasks may not throw, and may
  // not wait for each other: on a busy machine few threads take part, or the caller alone.
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
  // next_ is this or more while there is no task to take. While there is one, it is that task's index, minus
  // the number of tasks, plus this.
  static constexpr int64_t kNoTask = int64_t{1} << 62;

  // A number that one thread changes and others wait for. They spin, and sleep if nothing happens.
  struct alignas(64) Signal {
    std::atomic<uint32_t> value{0};
    std::atomic<int> n_asleep{0};
    void raise();
    void wait_while(uint32_t old);
  };

  void run_erased(int64_t n_tasks, Call call, void* context);
  void set_team(int size);
  void work(int thread);
  void stop();
  int64_t take_tasks(int thread);
  void wait_for_workers();

  std::vector<std::thread> workers_;
  TeamSize team_;
  // The region that runs. The caller writes it before next_ has tasks, and does not touch it before all of
  // them are done, so a thread that took a task may read it.
  Call call_ = nullptr;
  void* context_ = nullptr;
  int64_t n_tasks_ = 0;
  alignas(64) std::atomic<int64_t> next_{kNoTask};
  alignas(64) std::atomic<int64_t> left_{0};  // tasks that are not done
  Signal started_;                            // raised for each region, and to stop
  Signal finished_;                           // raised when no task is left, if the caller sleeps
  Signal team_changed_;
  alignas(64) std::atomic<int> team_size_;  // workers of this number or more wait for team_changed_
  std::atomic<bool> stopping_{false};
};

}  // namespace seer
