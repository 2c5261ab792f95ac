// Detects use of an engine in a process that was forked from its own. Such a process has a copy of the
// engine's memory but none of its threads, so a lock may stay locked for ever, and a wait may never end.
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
  // Throws Error{kUsage} if here() is false. `what` begins the message: "the engine".
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

// Owns a T that only its own process destroys. In a forked process it is leaked, because its destructor could
// wait for ever.
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

// Makes a shared pointer that deletes the object only in the process that made it.
template <class T>
std::shared_ptr<T> shared_here(std::unique_ptr<T> value) {
  return std::shared_ptr<T>(value.release(), [process = OwnProcess()](T* owned) {
    if (process.here()) delete owned;
  });
}

}  // namespace seer
