// A model's answer. Calls and reasoning must be the same however the text is cut.
#include <nlohmann/json.hpp>

#include "tests/fuzz/support.h"
#include "tools/seer/serve/answers/answer_parser.h"

namespace seer::fuzz::answers_target {
namespace {

using serve::AnswerDelta;
using serve::ParsedAnswer;
using serve::Thinking;
using serve::ToolForm;

constexpr ToolForm kForms[] = {ToolForm::kNone, ToolForm::kHermes, ToolForm::kLlama3, ToolForm::kMistral};
constexpr Thinking kThinking[] = {Thinking::kNone, Thinking::kMay, Thinking::kInside};

class Reader {
 public:
  Reader(ToolForm form, Thinking thinking) : parser_(form, {"f", "get_weather"}, thinking) {}

  void push(std::string_view piece) { add(parser_.push(piece)); }
  ParsedAnswer finish() {
    add(parser_.finish());
    expect(!in_call_, "a call that never ended");
    return std::move(answer_);
  }

 private:
  using Kind = AnswerDelta::Kind;

  void add(const std::vector<AnswerDelta>& deltas) {
    for (const AnswerDelta& delta : deltas) {
      const bool of_call = delta.kind != Kind::kReasoning && delta.kind != Kind::kContent;
      expect(delta.kind == Kind::kCallEnd || !delta.text.empty(), "a delta without text");
      expect(of_call == (in_call_ || delta.kind == Kind::kCallBegin) || !of_call, "text within a call");
      if (delta.kind == Kind::kCallBegin) {
        expect(!in_call_ && delta.call == n_calls_++, "a call that begins out of turn");
        in_call_ = true;
      } else if (of_call) {
        expect(in_call_ && delta.call + 1 == n_calls_, "a piece of no call");
        if (delta.kind != Kind::kCallArguments) in_call_ = false;
      }
      answer_.add(delta);
    }
  }

  serve::AnswerParser parser_;
  ParsedAnswer answer_;
  bool in_call_ = false;
  size_t n_calls_ = 0;
};

// The first byte selects the parsers, the second the cuts in the text.
void run(const std::string& bytes) {
  if (bytes.size() < 2) return;
  const auto choice = static_cast<unsigned char>(bytes[0]);
  const ToolForm form = kForms[choice % 4];
  const Thinking thinking = kThinking[choice / 4 % 3];
  const std::string_view text = std::string_view(bytes).substr(2);
  Reader whole(form, thinking), pieces(form, thinking);
  whole.push(text);
  Random random(static_cast<unsigned char>(bytes[1]));
  for (size_t at = 0; at < text.size();) {
    const size_t size = 1 + random.below(9);
    pieces.push(text.substr(at, size));
    at += size;
  }
  const ParsedAnswer a = whole.finish(), b = pieces.finish();
  expect(a.content == b.content, "other content from pieces");
  expect(a.reasoning == b.reasoning, "other reasoning from pieces");
  expect(a.calls.size() == b.calls.size(), "another number of calls from pieces");
  for (size_t i = 0; i < a.calls.size(); ++i) {
    expect(a.calls[i].name == b.calls[i].name && a.calls[i].arguments == b.calls[i].arguments,
           "another call from pieces");
    const auto json = nlohmann::json::parse(a.calls[i].arguments, nullptr, false);
    expect(!is_utf8(a.calls[i].arguments) || json.is_object(),
           "arguments that are no JSON object: " + a.calls[i].arguments);
  }
  if (form == ToolForm::kNone && thinking == Thinking::kNone)
    expect(a.content == text && a.calls.empty() && a.reasoning.empty(), "a text without forms has changed");
}

const Registration kTarget({"answers", run});

}  // namespace
}  // namespace seer::fuzz::answers_target
