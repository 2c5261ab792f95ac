#include "kernels/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <string>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "seer/error.h"

namespace seer {
namespace {

// Decoding opens a parallel region every 15 us or so; going to sleep and waking costs more than that, so
// threads spin for a while before they sleep in the kernel.
constexpr int64_t kSpin = 50'000;        // ns
constexpr int64_t kPreempted = 100'000;  // ns
constexpr int kPauses = 16;              // between two readings of the clock: less than a microsecond

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Returns whether `done` came true. Gives up after kSpin, or at once if the thread lost its core meanwhile.
template <class Done>
bool spin_until(Done&& done) {
  if (done()) return true;
  const int64_t begin = now_ns();
  for (int64_t last = begin;;) {
    for (int i = 0; i < kPauses; ++i) {
      pause();
      if (done()) return true;
    }
    const int64_t now = now_ns();
    if (now - begin > kSpin || now - last > kPreempted) return false;
    last = now;
  }
}

}  // namespace

void ThreadPool::Signal::raise() {
  value.fetch_add(1);
  if (n_asleep.load() > 0) value.notify_all();
}

void ThreadPool::Signal::wait_while(uint32_t old) {
  const auto changed = [&] { return value.load(std::memory_order_acquire) != old; };
  if (spin_until(changed)) return;
  n_asleep.fetch_add(1);
  while (value.load() == old) value.wait(old);
  n_asleep.fetch_sub(1);
}

ThreadPool::ThreadPool(int n_threads) : team_(n_threads), team_size_(n_threads) {
  workers_.reserve(static_cast<size_t>(std::max(0, n_threads - 1)));
  try {
    for (int t = 1; t < n_threads; ++t) workers_.emplace_back([this, t] { work(t); });
  } catch (const std::bad_alloc&) {
    stop();
    throw;
  } catch (const std::exception& e) {
    const size_t n_started = workers_.size() + 1;
    stop();  // needed, because destroying a running thread would end the program
    throw Error(ErrorKind::kMemory, "expected " + std::to_string(n_threads) + " threads, but only " +
                                        std::to_string(n_started) + " could be started: " + e.what() +
                                        ". Use fewer --threads.");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stopping_.store(true);
  team_changed_.raise();
  started_.raise();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::set_team(int size) {
  if (size == team_size_.load(std::memory_order_relaxed)) return;
  team_size_.store(size);
  team_changed_.raise();
}

void ThreadPool::run_erased(int64_t n_tasks, Call call, void* context) {
  const int64_t begin = now_ns();
  team_.begin(begin);
  set_team(team_.size());
  if (team_.size() == 1) {
    for (int64_t i = 0; i < n_tasks; ++i) call(context, i, 0);
    return;
  }
  call_ = call;
  context_ = context;
  n_tasks_ = n_tasks;
  left_.store(n_tasks, std::memory_order_relaxed);
  next_.store(kNoTask - n_tasks, std::memory_order_release);
  started_.raise();
  TeamSize::Region region;
  region.n_tasks = n_tasks;
  region.own_tasks = take_tasks(0);
  const int64_t end_own = now_ns();
  region.own = end_own - begin;
  int64_t end = end_own;
  if (region.own_tasks < n_tasks) {
    wait_for_workers();
    end = now_ns();
    region.wait = end - end_own;
  }
  team_.end(end, region);
}

void ThreadPool::wait_for_workers() {
  const auto done = [&] { return left_.load(std::memory_order_acquire) == 0; };
  if (spin_until(done)) return;
  finished_.n_asleep.fetch_add(1);
  for (uint32_t old = finished_.value.load(); left_.load() != 0; old = finished_.value.load())
    finished_.value.wait(old);
  finished_.n_asleep.fetch_sub(1);
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  while (true) {
    started_.wait_while(seen);
    for (uint32_t old = team_changed_.value.load(); thread >= team_size_.load() && !stopping_.load();
         old = team_changed_.value.load())
      team_changed_.wait_while(old);
    if (stopping_.load(std::memory_order_relaxed)) return;
    seen = started_.value.load(std::memory_order_acquire);
    take_tasks(thread);
  }
}

// Runs tasks until none is left to take, and returns how many this thread has run. The caller waits only for
// threads that have taken a task. So a thread that sleeps, or that the system has stopped, delays no other.
int64_t ThreadPool::take_tasks(int thread) {
  int64_t n = 0;
  for (int64_t i = next_.fetch_add(1, std::memory_order_acquire); i < kNoTask;
       i = next_.fetch_add(1, std::memory_order_acquire)) {
    call_(context_, i - (kNoTask - n_tasks_), thread);
    ++n;
  }
  if (n > 0 && left_.fetch_sub(n) == n && finished_.n_asleep.load() > 0) {
    finished_.value.fetch_add(1);
    finished_.value.notify_all();
  }
  return n;
}

}  // namespace seer
