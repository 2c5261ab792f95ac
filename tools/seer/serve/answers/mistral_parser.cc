#include "tools/seer/serve/answers/mistral_parser.h"

#include <cctype>
#include <utility>

#include "tools/seer/serve/answers/white_space.h"

namespace seer::serve {
namespace {

using State = PendingCall::State;

enum Mark : size_t { kCalls, kArguments, kId };

// Returns whether a byte may be in the name of a function, as the API defines it.
bool may_be_in_name(char byte) {
  return std::isalnum(static_cast<unsigned char>(byte)) != 0 || byte == '_' || byte == '-' || byte == '.';
}

}  // namespace

std::vector<std::string> MistralParser::marks() { return {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}; }

MistralParser::MistralParser() : finder_(marks()) {}

void MistralParser::push(std::string_view text, DeltaList* out) {
  for (const char byte : text) push(byte, out);
}

void MistralParser::push(char byte, DeltaList* out) {
  if (place_ == Place::kInCall && call_->state() == State::kReading) {
    in_call(byte, out);
    const bool taken = place_ != Place::kText || call_->state() == State::kDone;
    if (taken && call_->state() != State::kBroken) return;
  }
  std::string text;
  const std::optional<size_t> mark = finder_.push(byte, &text);
  for (const char c : text) {
    if (place_ == Place::kInCall) {
      in_call(c, out);
    } else if (place_ == Place::kText) {
      out->content({&c, 1});
    } else {
      after_mark(c, out);
    }
  }
  if (mark) mark_found(*mark, out);
}

void MistralParser::in_call(char byte, DeltaList* out) {
  const State state = call_->push(byte, out);
  if (state == State::kText) place_ = Place::kText;
  if (state == State::kDone) place_ = array_ ? Place::kInArray : Place::kText;
}

void MistralParser::after_mark(char byte, DeltaList* out) {
  before_ += byte;
  if (is_space(byte) && place_ != Place::kName) return;
  switch (place_) {
    case Place::kAfterMark:
      array_ = byte == '[';
      place_ = array_ ? Place::kAfterComma : Place::kName;
      if (array_) return;
      [[fallthrough]];
    case Place::kName:
      if (may_be_in_name(byte)) {
        name_ += byte;
        return;
      }
      if (is_space(byte)) {
        place_ = Place::kBeforeArguments;
        return;
      }
      [[fallthrough]];
    case Place::kBeforeArguments:
      if (byte != '{' || name_.empty()) break;
      begin_call(std::exchange(name_, {}));
      in_call(byte, out);
      return;
    case Place::kCallId:
      if (!may_be_in_name(byte)) break;
      return;
    case Place::kAfterComma:
      if (byte != '{') break;
      begin_call("");
      in_call(byte, out);
      return;
    case Place::kInArray:
      if (byte == ',') {
        place_ = Place::kAfterComma;
        return;
      }
      if (byte != ']') break;
      place_ = Place::kText;
      before_.clear();
      return;
    default:
      break;
  }
  give_up(out);
}

void MistralParser::begin_call(std::string name) {
  before_.pop_back();  // the brace belongs to the call
  call_.emplace(std::exchange(before_, {}), std::move(name));
  place_ = Place::kInCall;
}

void MistralParser::give_up(DeltaList* out) {
  out->content(std::exchange(before_, {}));
  name_.clear();
  place_ = Place::kText;
}

void MistralParser::mark_found(size_t mark, DeltaList* out) {
  const std::string text = marks()[mark];
  const bool after_name = !name_.empty() && (place_ == Place::kName || place_ == Place::kBeforeArguments);
  if ((mark == kArguments && (after_name || place_ == Place::kCallId)) || (mark == kId && after_name)) {
    before_ += text;
    place_ = mark == kId ? Place::kCallId : Place::kBeforeArguments;
    return;
  }
  if (mark == kCalls) {
    if (place_ == Place::kInCall) call_->end(out);  // the call was broken
    give_up(out);
    before_ = text;
    place_ = Place::kAfterMark;
    return;
  }
  for (const char c : text) {
    if (place_ == Place::kInCall) {
      in_call(c, out);
    } else {
      before_ += c;
    }
  }
  if (place_ != Place::kInCall) give_up(out);
}

void MistralParser::finish(DeltaList* out) {
  const std::string rest = finder_.flush();
  if (place_ == Place::kInCall) {
    for (const char c : rest) in_call(c, out);
    call_->end(out);
  } else {
    out->content(before_ + rest);
    before_.clear();
  }
}

}  // namespace seer::serve
