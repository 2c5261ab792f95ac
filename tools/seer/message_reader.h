// Messages from standard input, read line by line, typed on a terminal or piped.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "tools/seer/line_editor.h"

namespace seer::cli {

// A message is one line or several: a line that ends in a backslash continues on the next one, and """ opens
// a block that the next """ closes. On a terminal a prompt is shown on stderr, lines can be edited, a paste
// of several lines is one message, and there is a history. A pipe has none of this, and a terminal on which
// lines cannot be edited (LineEditor::usable) has only the prompt.
class MessageReader {
 public:
  // `while_waiting` is called several times a second while there is nothing to read, and ends the wait by
  // throwing; null if nothing is to be called. `history_file` is the file that the history is kept in, or
  // empty. Throws Error{kFile} if that file cannot be read.
  MessageReader(std::function<void()> while_waiting, const std::string& history_file);

  // Returns the next message, or nothing at the end of the input. Throws Error{kCancelled} for a Ctrl-C, and
  // whatever `while_waiting` throws.
  std::optional<std::string> next();

 private:
  void wait_for_input() const;
  std::optional<std::string> read_message();
  std::optional<std::string> read_block(std::string text);
  std::optional<std::string> ask(const std::string& prompt);
  std::optional<std::string> read_line();

  std::function<void()> while_waiting_;
  std::unique_ptr<LineEditor> editor_;  // null: lines are read without editing
  std::string buffer_;
  bool at_end_ = false;
};

}  // namespace seer::cli
