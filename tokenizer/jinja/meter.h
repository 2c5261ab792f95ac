// What one parse or one rendering of a template may still use. Templates come from strangers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/stop_check.h"

namespace seer::jinja {

struct Limits {
  // Operations. A string of n bytes that is copied, searched or compared counts n / 32 of them.
  int64_t max_steps = 20'000'000;
  // Of the result, and of every string that is made on the way to it.
  size_t max_bytes = size_t{16} << 20;
  // Strings, lists and dicts that are alive at one time.
  size_t max_live_bytes = size_t{128} << 20;
  // Calls of macros within one another, and nesting of values and of iterators.
  int max_depth = 200;
};

// One thread has at most one at a time: values that it makes and drops are counted without being told of it.
class Meter {
 public:
  // Takes the place of the thread's meter until it is destroyed. `subject` begins the messages of its errors.
  Meter(const Limits& limits, std::string subject);
  ~Meter();
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  // A StopCheck of the thread may stop the work at each step. The following throw Error{kUnsupported} when a
  // limit is passed. Without a meter they do nothing.
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
  // Counts bytes as alive; returns what to give to `release` later (0 without a meter).
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
