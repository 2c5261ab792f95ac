// Lines typed on a terminal, with editing and history, by libedit.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace seer::cli {

// Arrow keys, words, undo and search are libedit's, by the user's ~/.editrc; history goes back by the upward
// arrow. What is pasted becomes part of the line as it is, line breaks included, if the terminal marks it
// (bracketed paste, which all but the oldest do), with U+FFFD for characters of zero and for bytes that are
// not UTF-8, neither of which a line on a terminal can hold. A line may have any length.
class LineEditor {
 public:
  // Whether this process has a terminal that lines can be edited on: standard input, shown on standard error,
  // and no dumb one.
  static bool usable();

  // `history_file`: empty, or what history is read from and kept in. `while_waiting` is called several times
  // a second while nothing is typed, and ends the wait by throwing. Throws Error{kFile} for a history that
  // cannot be read, {kRuntime} where the terminal cannot be used.
  LineEditor(const std::string& history_file, std::function<void()> while_waiting);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // Shows `prompt` and returns the line, in UTF-8 and without its end. Absent after Ctrl-D on an empty line,
  // or where the terminal has gone. Throws Error{kCancelled} for a Ctrl-C meanwhile, and what `while_waiting`
  // throws.
  std::optional<std::string> next(const std::string& prompt);
  // Puts a message into the history, unless it is empty, equals the last one or has a zero. Throws
  // Error{kFile} where the file cannot be written.
  void remember(const std::string& message);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer::cli
