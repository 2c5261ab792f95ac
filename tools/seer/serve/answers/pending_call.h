// A call that is being read. It gives out its pieces as it grows, and gives them out as content if it turns
// out to be no call.
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
    kText,    // it was no call, and was given out as content
    kBroken,  // it began like a call and went wrong; the text up to its end mark belongs to it
  };

  // `mark` is the text that introduced the call; it becomes content if there is no call. `name` is as for
  // CallReader. `is_tool` returns false for a name that makes it no call; null accepts every name.
  explicit PendingCall(std::string mark, std::string name = "",
                       std::function<bool(const std::string&)> is_tool = nullptr)
      : reader_(std::move(name)), is_tool_(std::move(is_tool)), written_(std::move(mark)) {}

  State state() const { return state_; }
  // Call it while the state is kReading or kBroken. If a byte changes the state to kText or kBroken, it was
  // not taken: read it again as text after the call.
  State push(char byte, DeltaList* out);
  // Call it at the end of the answer, or of a broken call.
  void end(DeltaList* out);
  // Adds text of a broken call that is its end mark.
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
