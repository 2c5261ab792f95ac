#include "tools/seer/serve/answers/llama3_parser.h"

#include <cctype>
#include <utility>

namespace seer::serve {
namespace {

using State = PendingCall::State;

}  // namespace

std::vector<std::string> Llama3Parser::marks() { return {"<|python_tag|>"}; }

Llama3Parser::Llama3Parser(std::function<bool(const std::string&)> is_tool)
    : is_tool_(std::move(is_tool)), finder_(marks()) {}

void Llama3Parser::push(std::string_view text, DeltaList* out) {
  for (const char byte : text) push(byte, out);
}

void Llama3Parser::push(char byte, DeltaList* out) {
  if (place_ == Place::kInCall) {
    const State state = call_->push(byte, out);
    if (state == State::kDone) place_ = Place::kAfterCall;
    if (state == State::kBroken && !std::exchange(broken_, true)) call_->push(byte, out);
    if (state != State::kText) return;
    place_ = Place::kText;
  }
  std::string text;
  const bool mark = finder_.push(byte, &text).has_value();
  for (size_t i = 0; i < text.size(); ++i) {
    // Text that the finder held back may begin a call, and within a call there are no marks.
    if (place_ == Place::kInCall) {
      push(text[i], out);
    } else {
      outside(text[i], out);
    }
  }
  if (!mark) return;
  before_ += marks().front();
  marked_ = true;
  place_ = Place::kAfterMark;
}

void Llama3Parser::outside(char byte, DeltaList* out) {
  const bool may_begin = place_ == Place::kStart || place_ == Place::kAfterMark;
  if (may_begin && byte == '{') {
    call_.emplace(std::exchange(before_, {}), "", marked_ ? nullptr : is_tool_);
    place_ = Place::kInCall;
    push(byte, out);
    return;
  }
  before_ += byte;
  if (place_ != Place::kText && std::isspace(static_cast<unsigned char>(byte)) != 0) return;
  if (place_ == Place::kAfterCall && byte == ';') {
    place_ = Place::kStart;
    return;
  }
  out->content(std::exchange(before_, {}));
  place_ = Place::kText;
}

void Llama3Parser::finish(DeltaList* out) {
  if (call_ && place_ == Place::kInCall) call_->end(out);
  out->content(before_ + finder_.flush());
  before_.clear();
}

}  // namespace seer::serve
