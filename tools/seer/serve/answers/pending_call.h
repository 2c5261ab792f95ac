// A call that is being read: what it gives out as it grows, and what becomes of it if it is none.
#pragma once

#include <functional>
#include <string>

#include "tools/seer/serve/answers/answer_delta.h"
#include "tools/seer/serve/answers/call_reader.h"

namespace seer::serve {

class PendingCall {
 public:
  enum class State {
    kReading,
    kDone,    // it was a call
    kText,    // it was none, and has been given out as content
    kBroken,  // it began like a call and went wrong: what follows belongs to it, up to its end mark
  };

  // `mark`: what introduced it, which is content if it is no call. `name`: as CallReader's.
  // `is_tool`: null, or false for a name that makes it no call.
  explicit PendingCall(std::string mark, std::string name = "",
                       std::function<bool(const std::string&)> is_tool = nullptr)
      : reader_(std::move(name)), is_tool_(std::move(is_tool)), written_(std::move(mark)) {}

  State state() const { return state_; }
  // While it is kReading or kBroken. A byte that makes it kText or kBroken has not been taken: it is to be
  // read as what follows.
  State push(char byte, DeltaList* out);
  // The end of the answer, or of a broken call.
  void end(DeltaList* out);
  // Further text of a broken call that is its end mark.
  void add_mark(const std::string& mark) { written_ += mark; }

 private:
  void give_out(DeltaList* out);

  CallReader reader_;
  std::function<bool(const std::string&)> is_tool_;
  std::string written_;
  bool announced_ = false;
  State state_ = State::kReading;
};

}  // namespace seer::serve
