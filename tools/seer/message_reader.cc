#include "tools/seer/message_reader.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "seer/error.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

constexpr const char* kQuotes = "\"\"\"";
constexpr int kLook = 200;  // ms between two calls of while_waiting

}  // namespace

MessageReader::MessageReader(std::function<void()> while_waiting, const std::string& history_file)
    : while_waiting_(std::move(while_waiting)) {
  if (LineEditor::usable()) editor_ = std::make_unique<LineEditor>(history_file, while_waiting_);
}

std::optional<std::string> MessageReader::next() {
  std::optional<std::string> message = read_message();
  if (message && editor_) editor_->remember(*message);
  return message;
}

std::optional<std::string> MessageReader::read_message() {
  std::optional<std::string> line = ask("> ");
  if (!line) return std::nullopt;
  if (line->starts_with(kQuotes)) return read_block(line->substr(3));
  std::string text;
  while (line && line->ends_with('\\')) {
    line->back() = '\n';
    text += *line;
    line = ask(". ");
  }
  return text + line.value_or("");
}

std::optional<std::string> MessageReader::read_block(std::string text) {
  // Text after the opening quotes in the same line, if there is any, is the block's first line. A pasted line
  // may be several.
  if (text.starts_with('\n')) text.erase(0, 1);
  std::string block;
  std::optional<std::string> line = text.empty() ? std::nullopt : std::optional(std::move(text));
  while (true) {
    if (line) {
      const size_t end = line->find(kQuotes);
      block += line->substr(0, end);
      if (end != std::string::npos) {
        if (block.ends_with('\n')) block.pop_back();
        return block + line->substr(end + 3);
      }
      block += '\n';
    }
    line = ask(". ");
    if (!line) return block;
  }
}

std::optional<std::string> MessageReader::ask(const std::string& prompt) {
  if (editor_) return editor_->next(prompt);
  if (stdin_is_terminal()) write_stderr(prompt);
  return read_line();
}

void MessageReader::wait_for_input() const {
  pollfd input = {STDIN_FILENO, POLLIN, 0};
  do {
    throw_if_interrupted();
    if (while_waiting_) while_waiting_();
  } while (::poll(&input, 1, kLook) <= 0);
  throw_if_interrupted();
}

std::optional<std::string> MessageReader::read_line() {
  char bytes[65536];
  while (true) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos || (at_end_ && !buffer_.empty())) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end == std::string::npos ? end : end + 1);
      if (line.ends_with('\r')) line.pop_back();
      return line;
    }
    if (at_end_) return std::nullopt;
    wait_for_input();
    const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw Error(ErrorKind::kFile, std::string("cannot read standard input: ") + std::strerror(errno));
    if (n == 0) at_end_ = true;
    buffer_.append(bytes, static_cast<size_t>(n));
  }
}

}  // namespace seer::cli
