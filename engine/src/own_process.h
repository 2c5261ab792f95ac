// The process that an engine belongs to. A process that was forked from it has a copy of the engine's memory,
// but none of its threads: locks may be held there by nobody, and waits have no end.
#pragma once

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "seer/error.h"

namespace seer {

class OwnProcess {
 public:
  // False in a process that was forked from the one that made this.
  bool here() const noexcept { return ::getpid() == pid_; }
  // Throws Error{kUsage} there. `what` begins the message: "the engine".
  void check(const char* what) const {
    if (here()) return;
    throw Error(ErrorKind::kUsage, std::string(what) + " belongs to the process " + std::to_string(pid_) +
                                       " and was used in " + std::to_string(::getpid()) +
                                       ", which was forked from it and lacks its threads. Load an engine in "
                                       "the process that uses it, after the fork.");
  }

 private:
  pid_t pid_ = ::getpid();
};

// A T that is destroyed by its own process only. In a forked one it is left as it is, for its destructor
// could wait for ever.
template <class T>
class OwnedHere {
 public:
  template <class... Arguments>
  explicit OwnedHere(Arguments&&... arguments)
      : value_(std::make_unique<T>(std::forward<Arguments>(arguments)...)) {}
  ~OwnedHere() {
    if (!process_.here()) (void)value_.release();
  }
  OwnedHere(const OwnedHere&) = delete;
  OwnedHere& operator=(const OwnedHere&) = delete;
  T& operator*() const { return *value_; }
  T* operator->() const { return value_.get(); }

 private:
  OwnProcess process_;
  std::unique_ptr<T> value_;
};

// The same for what several share.
template <class T>
std::shared_ptr<T> shared_here(std::unique_ptr<T> value) {
  return std::shared_ptr<T>(value.release(), [process = OwnProcess()](T* owned) {
    if (process.here()) delete owned;
  });
}

}  // namespace seer
