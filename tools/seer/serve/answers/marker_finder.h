// Finds marks such as "<tool_call>" in a text that comes in pieces.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace seer::serve {

class MarkerFinder {
 public:
  explicit MarkerFinder(std::vector<std::string> marks) : marks_(std::move(marks)) {}

  // Appends to `text` what belongs to no mark. Returns the mark that `byte` completes, by its number.
  std::optional<size_t> push(char byte, std::string* text);
  // What was held back as the beginning of a mark; the text has ended, or is read in another way from here.
  std::string flush();

 private:
  bool begins_a_mark() const;

  std::vector<std::string> marks_;
  std::string held_;
};

}  // namespace seer::serve
