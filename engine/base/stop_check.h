// Lets the caller of long work stop it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace seer {

// While one of these lives, what its thread does calls `check` when it begins and now and then, which may
// throw to stop it. Work that may take long says how far it has come by StopCheck::work(); without a
// StopCheck that does nothing. It is not passed as a parameter because the work is found deep inside of
// regular expressions' loops, normal forms and merges, all of which would have to hand it on.
class StopCheck {
 public:
  // Takes the place of the thread's check until it is destroyed; an empty function leaves that in its place.
  // `check` must live as long.
  explicit StopCheck(const std::function<void()>& check) : before_(current_) {
    if (check) current_ = {&check, 0};  // the first work is checked too: it may be in vain already
  }
  ~StopCheck() { current_ = before_; }
  StopCheck(const StopCheck&) = delete;
  StopCheck& operator=(const StopCheck&) = delete;

  // So many bytes, symbols or steps have been worked on. Throws what the check throws.
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
