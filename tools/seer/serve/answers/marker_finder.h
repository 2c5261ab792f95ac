// Finds marks such as "<tool_call>" in a text that comes in pieces.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace seer::serve {

class MarkerFinder {
 public:
  explicit MarkerFinder(std::vector<std::string> marks) : marks_(std::move(marks)) {}

  // Appends to `text` the bytes that belong to no mark. Returns the number of the mark that `byte` completes,
  // if it does.
  std::optional<size_t> push(char byte, std::string* text);
  // Returns the bytes held back as the beginning of a mark. Call it when the text has ended, or is read in
  // another way from here.
  std::string flush();

 private:
  bool begins_a_mark() const;

  std::vector<std::string> marks_;
  std::string held_;
};

}  // namespace seer::serve
