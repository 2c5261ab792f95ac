#include "engine/src/stop_matcher.h"

#include <algorithm>
#include <utility>

#include "seer/error.h"

namespace seer {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_)
    if (stop.empty())
      throw Error(ErrorKind::kUsage, "a stop string is empty; expected at least one character");
}

std::string StopMatcher::push(std::string_view text) {
  if (matched()) return {};
  pending_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = pending_.find(stop);
    if (at < first) first = at, match_ = stop;
  }
  size_t certain = first;
  if (!matched()) {
    // Holds back the longest end of the text with which a stop string may begin.
    size_t held = 0;
    for (const std::string& stop : stops_)
      for (size_t n = std::min(stop.size() - 1, pending_.size()); n > held; --n)
        if (pending_.compare(pending_.size() - n, n, stop, 0, n) == 0) held = n;
    certain = pending_.size() - held;
  }
  std::string out = pending_.substr(0, certain);
  pending_.erase(0, matched() ? std::string::npos : certain);
  return out;
}

std::string StopMatcher::finish() { return std::exchange(pending_, {}); }

}  // namespace seer
