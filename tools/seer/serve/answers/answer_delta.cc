#include "tools/seer/serve/answers/answer_delta.h"

#include <utility>

namespace seer::serve {
namespace {

using Kind = AnswerDelta::Kind;

constexpr std::string_view kSpace = " \t\n\r";

}  // namespace

void DeltaList::add(Kind kind, std::string_view text) {
  if (text.empty()) return;
  const size_t call = n_calls_ == 0 ? 0 : n_calls_ - 1;
  const bool of_call = kind != Kind::kReasoning && kind != Kind::kContent;
  if (!deltas_.empty() && deltas_.back().kind == kind) {
    deltas_.back().text += text;
  } else {
    deltas_.push_back({kind, std::string(text), of_call ? call : 0});
  }
}

void DeltaList::content(std::string_view text) {
  const size_t last = text.find_last_not_of(kSpace);
  if (last == std::string_view::npos) {
    space_ += text;
    return;
  }
  if (after_call_) {
    text.remove_prefix(text.find_first_not_of(kSpace));
  } else {
    add(Kind::kContent, std::exchange(space_, {}));
  }
  after_call_ = false;
  space_ = text.substr(text.find_last_not_of(kSpace) + 1);
  add(Kind::kContent, text.substr(0, text.size() - space_.size()));
}

void DeltaList::begin_call(std::string_view name) {
  before_call_ = std::exchange(space_, {});
  ++n_calls_;
  deltas_.push_back({Kind::kCallBegin, std::string(name), n_calls_ - 1});
}

void DeltaList::close_call(Kind kind, std::string_view text) {
  deltas_.push_back({kind, std::string(text), n_calls_ - 1});
  after_call_ = kind == Kind::kCallEnd;
}

void DeltaList::break_call(std::string_view written) {
  close_call(Kind::kCallBroken, (after_call_ ? "" : before_call_) + std::string(written));
}

void DeltaList::finish() {
  if (!after_call_) add(Kind::kContent, space_);
  space_.clear();
}

std::vector<AnswerDelta> DeltaList::take() { return std::exchange(deltas_, {}); }

void ParsedAnswer::add(const AnswerDelta& delta) {
  switch (delta.kind) {
    case Kind::kReasoning:
      reasoning += delta.text;
      break;
    case Kind::kContent:
      content += delta.text;
      break;
    case Kind::kCallBegin:
      calls.push_back({delta.text, ""});
      break;
    case Kind::kCallArguments:
      calls.back().arguments += delta.text;
      break;
    case Kind::kCallEnd:
      break;
    case Kind::kCallBroken:
      calls.pop_back();
      content += delta.text;
      break;
  }
}

}  // namespace seer::serve
