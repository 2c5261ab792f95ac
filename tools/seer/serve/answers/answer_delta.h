// A new piece of a chat answer: content, reasoning, or a call of a function.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace seer::serve {

struct AnswerDelta {
  enum class Kind {
    kReasoning,      // text
    kContent,        // text
    kCallBegin,      // text: the function's name
    kCallArguments,  // text: the next piece of the arguments, which are the text of a JSON object
    kCallEnd,        // the arguments are complete
    // The text was no call after all, or was cut off. text: everything the model wrote of it, which begins
    // with the pieces of arguments given out before.
    kCallBroken,
  };
  Kind kind;
  std::string text;
  size_t call = 0;  // the number of the call within the answer

  bool operator==(const AnswerDelta& other) const {
    return kind == other.kind && text == other.text && call == other.call;
  }
};

// Collects the pieces that a parser finds. White space next to a call is not content: it is held back until
// other content follows, or the answer ends without a call.
class DeltaList {
 public:
  void reasoning(std::string_view text) { add(AnswerDelta::Kind::kReasoning, text); }
  void content(std::string_view text);
  void plain(std::string_view text) { add(AnswerDelta::Kind::kContent, text); }  // for forms without calls
  void begin_call(std::string_view name);
  void arguments(std::string_view text) { add(AnswerDelta::Kind::kCallArguments, text); }
  void end_call() { close_call(AnswerDelta::Kind::kCallEnd, ""); }
  void break_call(std::string_view written);  // everything written, marks included
  void finish();                              // call it when the answer has ended

  std::vector<AnswerDelta> take();

 private:
  void add(AnswerDelta::Kind kind, std::string_view text);
  void close_call(AnswerDelta::Kind kind, std::string_view text);

  std::vector<AnswerDelta> deltas_;
  std::string space_;        // white space held back
  std::string before_call_;  // white space before the last call, which becomes content if that is no call
  bool after_call_ = false;  // only white space has followed the last call
  size_t n_calls_ = 0;       // calls begun
};

// A whole answer. Text that only looked like a call is content, as the model wrote it.
struct ParsedAnswer {
  struct Call {
    std::string name, arguments;
  };
  std::string reasoning, content;
  std::vector<Call> calls;

  void add(const AnswerDelta& delta);
};

}  // namespace seer::serve
