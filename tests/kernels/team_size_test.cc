// A pool's team of threads shrinks next to busy processes, and grows again. The test sets the clock.
#include "kernels/cpu/team_size.h"

#include <algorithm>

#include "tests/support/catch.h"

namespace seer {
namespace {

constexpr int64_t kMicrosecond = 1000, kMillisecond = 1000 * kMicrosecond, kSecond = 1000 * kMillisecond;

// A pool's clock, and regions of many small tasks on machines of several kinds.
class Machine {
 public:
  explicit Machine(int n_threads) : team(n_threads) {}

  // Runs a region of `work` in 64 tasks that the team divides evenly, with a `wait` for the last one.
  void run(int64_t work, int64_t wait) {
    team.begin(now);
    const int size = team.size();
    TeamSize::Region region;
    region.n_tasks = 64;
    region.own_tasks = region.n_tasks / size;
    region.own = work / size;
    region.wait = size == 1 ? 0 : wait;
    now += region.own + region.wait;
    if (size > 1) team.end(now, region);
    done += work;
  }
  // Runs regions of 20 us of work for `time`. A core is lost for 3 ms after every 3 ms in which the team uses
  // at least `contended` threads.
  void decode(int64_t time, int contended) {
    int64_t until_lost = 3 * kMillisecond;
    for (const int64_t end = now + time; now < end;) {
      const int64_t before = now;
      const bool lost = contended > 0 && team.size() >= contended && until_lost <= 0;
      if (lost) until_lost = 3 * kMillisecond;
      run(20 * kMicrosecond, lost ? 3 * kMillisecond : kMicrosecond / 20);
      if (team.size() >= contended) until_lost -= now - before;
    }
  }

  TeamSize team;
  int64_t now = kSecond;  // any time will do
  int64_t done = 0;       // work of all threads
};

TEST_CASE("on a machine of its own every thread takes part, however short or long the tasks are") {
  for (const int n_threads : {2, 3, 16, 64})
    for (const int64_t work : {20 * kMicrosecond, kMillisecond, 500 * kMillisecond}) {
      INFO(n_threads << " threads, " << work << " ns");
      Machine machine(n_threads);
      for (int i = 0; i < 1000; ++i) {
        machine.run(work, work / 64);
        REQUIRE(machine.team.size() == n_threads);
      }
    }
}

TEST_CASE("two threads next to a busy process do nearly the work of one alone") {
  Machine machine(2);
  machine.decode(kSecond, 2);
  CHECK(machine.done > kSecond * 9 / 10);
}

TEST_CASE("of many threads only those leave that the busy processes hold up") {
  Machine machine(16);
  machine.decode(kSecond, 14);
  CHECK(machine.team.size() >= 12);
  CHECK(machine.done > 13 * kSecond * 8 / 10);
}

TEST_CASE("a team grows back when the machine is free again") {
  for (const int n_threads : {2, 16}) {
    INFO(n_threads << " threads");
    Machine machine(n_threads);
    machine.decode(kSecond, 2);
    CHECK(machine.team.size() <= 2);
    machine.decode(500 * kMillisecond, 0);
    CHECK(machine.team.size() == n_threads);
  }
}

TEST_CASE("a stall now and then costs little more than itself") {
  Machine machine(16);
  for (int i = 0; i < 10; ++i) {
    machine.run(20 * kMicrosecond, 4 * kMillisecond);
    machine.decode(96 * kMillisecond, 0);
    CHECK(machine.team.size() == 16);
  }
  CHECK(machine.done > 16 * kSecond * 9 / 10);
}

TEST_CASE("a thread that is held up but does enough stays") {
  // Each region has 40 ms of work, and the other thread loses its core for 3 ms.
  Machine machine(2);
  for (int i = 0; i < 100; ++i) machine.run(40 * kMillisecond, 3 * kMillisecond);
  CHECK(machine.team.size() == 2);
}

TEST_CASE("a caller that loses its core does not count that time as the others' work") {
  TeamSize team(2);
  int64_t now = kSecond;
  // The caller's only task took 10 ms of the clock, and then it waited for 12.
  team.begin(now);
  team.end(now += 22 * kMillisecond, {10 * kMillisecond, 12 * kMillisecond, 100, 1});
  CHECK(team.size() == 2);  // at most 22 ms were saved
  for (int i = 0; i < 10 && team.size() == 2; ++i) {
    team.begin(now);
    team.end(now += 4 * kMillisecond, {10 * kMicrosecond, 4 * kMillisecond, 64, 32});
  }
  CHECK(team.size() == 1);
}

TEST_CASE("a caller that comes too late for any task is no reason to shrink") {
  TeamSize team(4);
  int64_t now = kSecond;
  for (int i = 0; i < 1000; ++i) {
    team.begin(now);
    team.end(now += 10 * kMicrosecond, {0, 10 * kMicrosecond, 4, 0});
    REQUIRE(team.size() == 4);
  }
}

TEST_CASE("a pool of one thread stays one") {
  TeamSize team(1);
  team.begin(kSecond);
  CHECK(team.size() == 1);
}

}  // namespace
}  // namespace seer
