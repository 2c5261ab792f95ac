// Decides how many threads of a pool take part, so that two threads are no slower than one if another process
// keeps a core busy. In that case the system sometimes takes a core away in the middle of a task, and the
// thread that has finished its own tasks waits for milliseconds, in which it could have run all of them.
#pragma once

#include <cstdint>

namespace seer {

// Times are nanoseconds of a steady clock. One thread at a time.
class TeamSize {
 public:
  explicit TeamSize(int most) : most_(most), size_(most) {}

  // The caller's measurements of a region, which is a set of tasks that the team ran together.
  struct Region {
    int64_t own = 0;        // time in which the caller ran tasks
    int64_t wait = 0;       // time in which it waited for the others' last tasks after that
    int64_t n_tasks = 0;    // tasks of the region
    int64_t own_tasks = 0;  // tasks that the caller ran
  };

  int size() const { return size_; }  // threads, the caller included
  // Must be called before a region. A team that has shrunk may grow by one thread, to try whether it pays.
  void begin(int64_t now);
  // Must be called after a region that more than one thread was to run. The team may shrink.
  void end(int64_t now, const Region& region);

 private:
  struct Sums {
    int64_t own = 0, wait = 0;
    int64_t saved = 0;    // time that the caller would have needed for the others' tasks
    int64_t stalled = 0;  // waiting that ordinary tasks do not explain
  };
  void judge(int64_t now);
  void shrink(int64_t now, int size);

  int most_, size_;
  Sums sums_;               // of the regions since the team was judged last
  bool trial_ = false;      // whether the team has grown since then
  int64_t grown_ = 0;       // when it grew last
  int64_t backoff_ = 0;     // from shrinking to the next trial
  int64_t next_trial_ = 0;  // when a team that has shrunk may grow
};

}  // namespace seer
