// The budget of one parse or one rendering of a template. It is limited because templates come from
// strangers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/stop_check.h"

namespace seer::jinja {

struct Limits {
  // The limit of operations. A string of n bytes that is copied, searched or compared counts as n / 32
  // operations.
  int64_t max_steps = 20'000'000;
  // The limit in bytes of the result, and of every string on the way to it.
  size_t max_bytes = size_t{16} << 20;
  // The limit of the bytes of strings, lists and dicts that are alive at one time.
  size_t max_live_bytes = size_t{128} << 20;
  // The limit of nested calls of macros, and of nested values and iterators.
  int max_depth = 200;
};

// Counts the work of its thread. A thread has at most one active Meter, so that values which it creates and
// drops are counted without being given the Meter.
class Meter {
 public:
  // This object is the thread's meter until it is destroyed; then the one before is again. Its error messages
  // begin with `subject`.
  Meter(const Limits& limits, std::string subject);
  ~Meter();
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  // Each of the following functions throws Error{kUnsupported} if a limit is passed, and does nothing without
  // a meter. A StopCheck of the thread may stop the work at each step.
  static void step(int64_t n = 1) {
    if (current_ != nullptr && (current_->steps_ -= n) < 0) current_->fail_steps();
    StopCheck::work(static_cast<size_t>(n));
  }
  static void touch(size_t n_bytes) { step(static_cast<int64_t>(n_bytes / 32)); }
  static void text(size_t n_bytes) {
    if (current_ != nullptr && n_bytes > current_->limits_.max_bytes) current_->fail_bytes();
  }
  static void depth(int depth) {
    if (current_ != nullptr && depth > current_->limits_.max_depth) current_->fail_depth();
  }
  // Counts bytes as alive. Returns the number to pass to `release` later (0 without a meter).
  static size_t hold(size_t n_bytes) {
    if (current_ == nullptr) return 0;
    current_->live_ += n_bytes;
    if (current_->live_ > current_->limits_.max_live_bytes) current_->fail_live(n_bytes);
    return n_bytes;
  }
  static void release(size_t n_bytes) {
    if (current_ != nullptr) current_->live_ -= n_bytes;
  }

 private:
  [[noreturn]] void fail_steps() const;
  [[noreturn]] void fail_bytes() const;
  [[noreturn]] void fail_depth() const;
  [[noreturn]] void fail_live(size_t n_bytes);

  static thread_local Meter* current_;
  Limits limits_;
  std::string subject_;
  int64_t steps_;
  size_t live_ = 0;
  Meter* before_;
};

}  // namespace seer::jinja
