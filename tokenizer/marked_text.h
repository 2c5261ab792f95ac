// A text that says of every byte whether a chat template or one of the template's messages wrote it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace seer {

struct MarkedText {
  std::string text;
  // Half-open byte ranges of `text` that messages wrote: in order, not empty, not touching one another. The
  // template wrote the rest.
  std::vector<std::pair<size_t, size_t>> from_messages;
};

}  // namespace seer
