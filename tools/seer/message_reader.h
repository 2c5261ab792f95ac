// Messages from standard input, line by line: typed on a terminal or piped.
#pragma once

#include <optional>
#include <string>

namespace seer::cli {

// A message is one line, or several: a line that ends in a backslash goes on in the next one, and """ opens a
// block that the next """ closes. On a terminal a prompt is shown on stderr; on a pipe nothing is.
class MessageReader {
 public:
  // Absent at the end of the input. Throws Error{kCancelled} for a Ctrl-C meanwhile.
  std::optional<std::string> next();

 private:
  std::optional<std::string> read_line();
  std::optional<std::string> read_block(std::string text);

  std::string buffer_;
  bool at_end_ = false;
};

}  // namespace seer::cli
