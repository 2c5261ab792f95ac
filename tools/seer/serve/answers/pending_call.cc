#include "tools/seer/serve/answers/pending_call.h"

namespace seer::serve {

namespace {

using Progress = JsonByteReader::Progress;

}  // namespace

PendingCall::State PendingCall::push(char byte, DeltaList* out) {
  if (state_ == State::kBroken) {
    written_ += byte;
    out->arguments({&byte, 1});
    return state_;
  }
  Progress progress = reader_.push(byte);
  const bool refused = is_tool_ && !reader_.name().empty() && !is_tool_(reader_.name());
  if (refused) progress = Progress::kBad;
  if (progress == Progress::kBad) {
    state_ = announced_ ? State::kBroken : State::kText;
    if (announced_) {
      out->arguments(reader_.take_arguments());
    } else {
      out->content(written_);
    }
    return state_;
  }
  written_ += byte;
  if (progress == Progress::kEnd || reader_.has_begun()) give_out(out);
  if (progress == Progress::kEnd) {
    out->end_call();
    state_ = State::kDone;
  }
  return state_;
}

void PendingCall::give_out(DeltaList* out) {
  if (!announced_) out->begin_call(reader_.name());
  announced_ = true;
  out->arguments(reader_.take_arguments());
}

void PendingCall::end(DeltaList* out) {
  if (state_ != State::kReading && state_ != State::kBroken) return;
  if (announced_) {
    out->break_call(written_);
  } else {
    out->content(written_);
  }
  state_ = State::kText;
}

}  // namespace seer::serve
