#include "tools/seer/serve/answers/hermes_parser.h"

#include <cctype>

namespace seer::serve {
namespace {

using State = PendingCall::State;

constexpr size_t kBegin = 0, kEnd = 1;  // numbers of the marks

}  // namespace

std::vector<std::string> HermesParser::marks() { return {"<tool_call>", "</tool_call>"}; }

HermesParser::HermesParser() : finder_(marks()) {}

void HermesParser::push(std::string_view text, DeltaList* out) {
  for (const char byte : text) push(byte, out);
}

void HermesParser::push(char byte, DeltaList* out) {
  if (call_ && call_->state() == State::kReading) {
    const State state = call_->push(byte, out);
    if (state == State::kReading) return;
    after_call_ = state == State::kDone;
    if (state != State::kBroken) call_.reset();
    if (after_call_) return;
  }
  std::string text;
  const std::optional<size_t> mark = finder_.push(byte, &text);
  for (const char c : text) {
    if (call_) {
      call_->push(c, out);  // text of a broken call, up to its end mark
    } else {
      after_call_ = after_call_ && std::isspace(static_cast<unsigned char>(c)) != 0;
      out->content({&c, 1});
    }
  }
  if (!mark) return;
  if (call_) {
    if (*mark == kEnd) call_->add_mark(marks()[kEnd]);
    call_->end(out);
    call_.reset();
    if (*mark == kEnd) return;
  }
  if (*mark == kBegin) {
    call_.emplace(marks()[kBegin]);
  } else if (!after_call_) {
    out->content(marks()[kEnd]);
  }
  after_call_ = false;
}

void HermesParser::finish(DeltaList* out) {
  const std::string rest = finder_.flush();
  if (call_) {
    for (const char c : rest) call_->push(c, out);
    call_->end(out);
    call_.reset();
  } else {
    out->content(rest);
  }
}

}  // namespace seer::serve
