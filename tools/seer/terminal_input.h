// Reads the bytes that a terminal sends as characters, and recognises pasted text.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace seer::cli {

class TerminalInput {
 public:
  // `wait` returns once standard input has something to read or has ended. Its exceptions pass through.
  explicit TerminalInput(std::function<void()> wait) : wait_(std::move(wait)) {}

  // Returns the next character, with U+FFFD for bytes that are not UTF-8. Returns nothing at the end of the
  // input.
  std::optional<char32_t> next();
  // Call it after the mark that begins a paste has been read. Returns everything up to the mark that ends the
  // paste, or to the end of the input. The line breaks of any system become '\n', and NUL becomes U+FFFD.
  std::u32string paste();
  // Puts bytes back, to be read next.
  void unread(const std::string& bytes) { bytes_.insert(at_, bytes); }
  // Returns whether the last character belongs to a key's sequence (an arrow's, say) that has not ended.
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
