// What is new of a chat answer: content, reasoning, or calls of functions.
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
    // It turned out to be no call, or was cut off. text: everything the model wrote of it; the pieces of
    // arguments before this hold the same from their beginning on.
    kCallBroken,
  };
  Kind kind;
  std::string text;
  size_t call = 0;  // which call of the answer

  bool operator==(const AnswerDelta& other) const {
    return kind == other.kind && text == other.text && call == other.call;
  }
};

// Collects what a parser finds. White space next to a call is no content: it is held back until other content
// follows, or the answer ends without a call.
class DeltaList {
 public:
  void reasoning(std::string_view text) { add(AnswerDelta::Kind::kReasoning, text); }
  void content(std::string_view text);
  void plain(std::string_view text) { add(AnswerDelta::Kind::kContent, text); }  // where there are no calls
  void begin_call(std::string_view name);
  void arguments(std::string_view text) { add(AnswerDelta::Kind::kCallArguments, text); }
  void end_call() { close_call(AnswerDelta::Kind::kCallEnd, ""); }
  void break_call(std::string_view written);  // all of it, marks included
  void finish();                              // the answer has ended

  std::vector<AnswerDelta> take();

 private:
  void add(AnswerDelta::Kind kind, std::string_view text);
  void close_call(AnswerDelta::Kind kind, std::string_view text);

  std::vector<AnswerDelta> deltas_;
  std::string space_;        // held back
  std::string before_call_;  // white space before the last call, which counts if that is none
  bool after_call_ = false;  // nothing but white space followed the last call
  size_t n_calls_ = 0;       // begun
};

// A whole answer. A call that is none is content, as the model wrote it.
struct ParsedAnswer {
  struct Call {
    std::string name, arguments;
  };
  std::string reasoning, content;
  std::vector<Call> calls;

  void add(const AnswerDelta& delta);
};

}  // namespace seer::serve
