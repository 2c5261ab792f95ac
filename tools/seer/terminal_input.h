// The bytes that a terminal sends, as characters, and what it marks as pasted.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace seer::cli {

class TerminalInput {
 public:
  // `wait` returns once standard input has something to read or has ended; what it throws passes through.
  explicit TerminalInput(std::function<void()> wait) : wait_(std::move(wait)) {}

  // The next character; bytes that are not UTF-8 are U+FFFD. Absent at the end of the input.
  std::optional<char32_t> next();
  // Everything up to the mark that ends a paste, or the end of the input, with the line breaks of any system
  // as '\n', and NUL as U+FFFD. The mark that begins it has been read.
  std::u32string paste();
  // Puts bytes in front of what comes next.
  void unread(const std::string& bytes) { bytes_.insert(at_, bytes); }
  // Whether the last character belongs to a key's sequence (an arrow's, say) that has not ended.
  bool within_sequence() const { return sequence_ != Sequence::kNone; }

 private:
  enum class Sequence { kNone, kEscape, kControl, kShift };  // none, and after ESC, ESC [ and ESC O

  bool fill();
  std::optional<char32_t> decode();
  void follow(char32_t c);

  std::function<void()> wait_;
  std::string bytes_;
  size_t at_ = 0;
  Sequence sequence_ = Sequence::kNone;
};

}  // namespace seer::cli
