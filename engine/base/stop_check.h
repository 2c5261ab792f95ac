// Lets the caller of long work stop it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace seer {

// While a StopCheck exists, the work that its thread does calls `check` when it begins and every few
// milliseconds. `check` may throw to stop the work. Work that may take long calls StopCheck::work(), which
// does nothing if the thread has no StopCheck. A StopCheck is not passed as a parameter, because such work
// happens deep inside of regular expressions' loops, normal forms and merges, all of which would have to hand
// it on.
class StopCheck {
 public:
  // Replaces the thread's check until this object is destroyed. If `check` is empty, the check that the
  // thread has already stays. `check` must outlive this object.
  explicit StopCheck(const std::function<void()>& check) : before_(current_) {
    if (check) current_ = {&check, 0};  // the first work is checked too: it may be in vain already
  }
  ~StopCheck() { current_ = before_; }
  StopCheck(const StopCheck&) = delete;
  StopCheck& operator=(const StopCheck&) = delete;

  // Says that n more bytes, symbols or steps have been worked on. Throws what the check throws.
  static void work(size_t n = 1) {
    if (current_.check != nullptr && (current_.left -= static_cast<int64_t>(n)) < 0) call();
  }

 private:
  // A few milliseconds of tokenizing.
  static constexpr int64_t kWorkPerCheck = int64_t{1} << 16;

  struct Current {
    const std::function<void()>* check;
    int64_t left;
  };
  static void call() {
    current_.left = kWorkPerCheck;
    (*current_.check)();
  }

  static inline thread_local Current current_{nullptr, 0};
  Current before_;
};

}  // namespace seer
