#include "kernels/cpu/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "tests/support/catch.h"

namespace seer {
namespace {

// Returns how often each index ran, or -1 if a thread's number was out of range.
std::vector<int> run_counts(ThreadPool& pool, int64_t n_tasks) {
  std::vector<std::atomic<int>> counts(static_cast<size_t>(n_tasks));
  std::atomic<bool> out_of_range{false};
  pool.run(n_tasks, [&](int64_t i, int thread) {
    if (thread < 0 || thread >= pool.n_threads()) out_of_range = true;
    ++counts[static_cast<size_t>(i)];
  });
  if (out_of_range) return {-1};
  return {counts.begin(), counts.end()};
}

TEST_CASE("every index runs once, whatever the number of threads and tasks") {
  for (const int n_threads : {1, 2, 3, 7}) {
    ThreadPool pool(n_threads);
    CHECK(pool.n_threads() == n_threads);
    for (const int64_t n_tasks : {0, 1, 2, 3, 63, 1000}) {
      INFO(n_threads << " threads, " << n_tasks << " tasks");
      CHECK(run_counts(pool, n_tasks) == std::vector<int>(static_cast<size_t>(n_tasks), 1));
    }
  }
}

TEST_CASE("many small regions follow each other") {
  ThreadPool pool(3);
  std::atomic<int64_t> sum{0};
  constexpr int64_t kRegions = 2000;
  // Each region's context is gone when the next begins, so a late worker would use a dead one.
  for (int64_t region = 0; region < kRegions; ++region) {
    const int64_t addend = region % 5;
    pool.run(4, [&sum, addend](int64_t i, int) { sum += addend * i; });
  }
  CHECK(sum == kRegions / 5 * (0 + 1 + 2 + 3 + 4) * (0 + 1 + 2 + 3));
}

TEST_CASE("workers that went to sleep wake up for the next region") {
  ThreadPool pool(3);
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the threads spin for about 50 us
    CHECK(run_counts(pool, 100) == std::vector<int>(100, 1));
  }
}

TEST_CASE("one thread runs tasks in order on the caller") {
  ThreadPool pool(1);
  std::vector<int64_t> order;
  std::set<std::thread::id> threads;
  pool.run(5, [&](int64_t i, int thread) {
    CHECK(thread == 0);
    order.push_back(i);
    threads.insert(std::this_thread::get_id());
  });
  CHECK(order == std::vector<int64_t>{0, 1, 2, 3, 4});
  CHECK(threads == std::set<std::thread::id>{std::this_thread::get_id()});
}

// Tasks that wait for each other end only if every thread takes part.
TEST_CASE("every thread takes part under a number of its own") {
  constexpr int kThreads = 3;
  ThreadPool pool(kThreads);
  std::atomic<int> arrived{0};
  std::vector<int> thread_of(kThreads, -1);
  pool.run(kThreads, [&](int64_t i, int thread) {
    thread_of[static_cast<size_t>(i)] = thread;
    ++arrived;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (arrived < kThreads && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  });
  std::sort(thread_of.begin(), thread_of.end());
  CHECK(thread_of == std::vector<int>{0, 1, 2});
}

TEST_CASE("a pool that never ran anything stops") {
  for (int i = 0; i < 50; ++i) {
    const ThreadPool pool(4);
    CHECK(pool.n_threads() == 4);
  }
}

TEST_CASE("what tasks wrote is seen by the caller, and by the next region") {
  ThreadPool pool(3);
  std::vector<int64_t> values(999);
  pool.run(999, [&](int64_t i, int) { values[static_cast<size_t>(i)] = i; });
  pool.run(999, [&](int64_t i, int) { values[static_cast<size_t>(i)] += values[static_cast<size_t>(i)]; });
  int64_t sum = 0;
  for (const int64_t v : values) sum += v;
  CHECK(sum == 999 * 998);
}

}  // namespace
}  // namespace seer
