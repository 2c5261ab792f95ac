#include "tools/seer/serve/answers/marker_finder.h"

#include <algorithm>
#include <utility>

namespace seer::serve {

bool MarkerFinder::begins_a_mark() const {
  return std::any_of(marks_.begin(), marks_.end(),
                     [&](const std::string& mark) { return mark.starts_with(held_); });
}

std::optional<size_t> MarkerFinder::push(char byte, std::string* text) {
  held_ += byte;
  while (!begins_a_mark()) {  // every mark begins with an empty text, so this ends
    *text += held_.front();
    held_.erase(0, 1);
  }
  const auto found = std::find(marks_.begin(), marks_.end(), held_);
  if (found == marks_.end()) return std::nullopt;
  held_.clear();
  return static_cast<size_t>(found - marks_.begin());
}

std::string MarkerFinder::flush() { return std::exchange(held_, {}); }

}  // namespace seer::serve
