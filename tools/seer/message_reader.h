// Messages from standard input, line by line: typed on a terminal or piped.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

namespace seer::cli {

// A message is one line, or several: a line that ends in a backslash goes on in the next one, and """ opens a
// block that the next """ closes. On a terminal a prompt is shown on stderr; on a pipe nothing is.
class MessageReader {
 public:
  // `while_waiting` is called several times a second while there is nothing to read, and ends the wait by
  // throwing; null: nothing is called.
  explicit MessageReader(std::function<void()> while_waiting) : while_waiting_(std::move(while_waiting)) {}

  // Absent at the end of the input. Throws Error{kCancelled} for a Ctrl-C meanwhile, and what
  // `while_waiting` throws.
  std::optional<std::string> next();

 private:
  void wait_for_input() const;
  std::optional<std::string> read_line();
  std::optional<std::string> read_block(std::string text);

  std::function<void()> while_waiting_;
  std::string buffer_;
  bool at_end_ = false;
};

}  // namespace seer::cli
