#include "tokenizer/jinja/meter.h"

#include <utility>

#include "seer/error.h"

namespace seer::jinja {

thread_local Meter* Meter::current_ = nullptr;

Meter::Meter(const Limits& limits, std::string subject)
    : limits_(limits), subject_(std::move(subject)), steps_(limits.max_steps), before_(current_) {
  current_ = this;
}

Meter::~Meter() { current_ = before_; }

void Meter::fail_steps() const {
  throw Error(ErrorKind::kUnsupported, subject_ + ": the template needs more than the " +
                                           std::to_string(limits_.max_steps) + " steps that are allowed");
}

void Meter::fail_bytes() const {
  throw Error(ErrorKind::kUnsupported, subject_ + ": the template makes a text of more than the " +
                                           std::to_string(limits_.max_bytes) + " bytes that are allowed");
}

void Meter::fail_depth() const {
  throw Error(ErrorKind::kUnsupported, subject_ + ": the template nests calls or values more than the " +
                                           std::to_string(limits_.max_depth) + " deep that are allowed");
}

void Meter::fail_live(size_t n_bytes) {
  live_ -= n_bytes;
  throw Error(ErrorKind::kUnsupported, subject_ + ": the template needs more than the " +
                                           std::to_string(limits_.max_live_bytes) +
                                           " bytes of memory that are allowed");
}

}  // namespace seer::jinja
