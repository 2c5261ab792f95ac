#include "kernels/cpu/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <exception>
#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "seer/error.h"

namespace seer {
namespace {

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Decoding opens a parallel region every 15 us or so; going to sleep and waking costs more than that, so
// threads spin for about 50 us before they sleep in the kernel.
constexpr int kSpins = 2000;

template <class T>
void wait_while_equal(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

int available_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int n_threads) {
  workers_.reserve(static_cast<size_t>(std::max(0, n_threads - 1)));
  try {
    for (int t = 1; t < n_threads; ++t) workers_.emplace_back([this, t] { work(t); });
  } catch (const std::exception& e) {
    const size_t n_started = workers_.size() + 1;
    stop();  // a thread that is destroyed while it runs ends the program
    throw Error(ErrorKind::kMemory, "expected " + std::to_string(n_threads) + " threads, but only " +
                                        std::to_string(n_started) + " could be started: " + e.what() +
                                        ". Use fewer --threads.");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(int64_t n_tasks, Call call, void* context) {
  call_ = call;
  context_ = context;
  n_tasks_ = n_tasks;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  take_tasks(0);
  // Every worker must have left the task list before it is replaced.
  for (int left = busy_.load(std::memory_order_acquire); left != 0;
       left = busy_.load(std::memory_order_acquire))
    wait_while_equal(busy_, left);
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  while (true) {
    wait_while_equal(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_relaxed)) return;
    take_tasks(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

void ThreadPool::take_tasks(int thread) {
  for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < n_tasks_;
       i = next_.fetch_add(1, std::memory_order_relaxed))
    call_(context_, i, thread);
}

}  // namespace seer
