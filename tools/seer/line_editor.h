// Lines typed on a terminal, with editing and history by libedit.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace seer::cli {

// Arrow keys, words, undo and search are libedit's, as the user's ~/.editrc sets them; the upward arrow goes
// back in the history. If the terminal marks pasted text (bracketed paste, which all but the oldest terminals
// do), it becomes part of the line as it is, line breaks included. NUL characters and bytes that are not
// UTF-8 become U+FFFD in it, since a line on a terminal can hold neither. A line may have any length.
class LineEditor {
 public:
  // Returns whether lines can be edited: standard input is a terminal that is not dumb, and standard error
  // shows it.
  static bool usable();

  // `history_file` is the file that the history is read from and kept in, or empty for no file.
  // `while_waiting` is called several times a second while nothing is typed, and ends the wait by throwing.
  // Throws Error{kFile} for a history that cannot be read, {kRuntime} if the terminal cannot be used.
  LineEditor(const std::string& history_file, std::function<void()> while_waiting);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // Shows `prompt` and returns the line, in UTF-8 and without its end. Returns nothing after Ctrl-D on an
  // empty line, or when the terminal has gone. Throws Error{kCancelled} for a Ctrl-C, and whatever
  // `while_waiting` throws.
  std::optional<std::string> next(const std::string& prompt);
  // Puts a message into the history, unless it is empty, equals the last one or contains a NUL. Throws
  // Error{kFile} if the file cannot be written.
  void remember(const std::string& message);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer::cli
