#include "tools/seer/terminal_input.h"

#include <unistd.h>

#include <cerrno>

namespace seer::cli {
namespace {

constexpr char32_t kReplacement = 0xfffd;
constexpr std::u32string_view kPasteEnd = U"\x1b[201~";

int continuation_bytes(unsigned char first) {
  if (first >= 0xc2 && first <= 0xdf) return 1;
  if (first >= 0xe0 && first <= 0xef) return 2;
  return first >= 0xf0 && first <= 0xf4 ? 3 : 0;
}

bool is_character(char32_t code, int n_more) {
  constexpr char32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  return code >= kLeast[n_more] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

}  // namespace

// Reads more bytes. Returns false at the end of the input.
bool TerminalInput::fill() {
  bytes_.erase(0, at_);
  at_ = 0;
  char bytes[65536];
  while (true) {
    wait_();
    const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return false;  // EIO: the terminal has gone
    bytes_.append(bytes, static_cast<size_t>(n));
    return true;
  }
}

std::optional<char32_t> TerminalInput::decode() {
  const auto byte = [this](size_t i) { return static_cast<unsigned char>(bytes_[at_ + i]); };
  if (at_ == bytes_.size() && !fill()) return std::nullopt;
  const unsigned char first = byte(0);
  const int n_more = continuation_bytes(first);
  if (n_more == 0) {
    ++at_;
    return first < 0x80 ? first : kReplacement;
  }
  char32_t code = first & (0x3fU >> n_more);
  for (int i = 1; i <= n_more; ++i) {
    const auto k = static_cast<size_t>(i);
    const bool there = at_ + k < bytes_.size() || fill();
    if (!there || (byte(k) & 0xc0U) != 0x80) {
      at_ += k;
      return kReplacement;
    }
    code = code << 6U | (byte(k) & 0x3fU);
  }
  at_ += static_cast<size_t>(n_more) + 1;
  return is_character(code, n_more) ? code : kReplacement;
}

void TerminalInput::follow(char32_t c) {
  if (sequence_ == Sequence::kControl) {
    if (c < 0x20 || c > 0x3f) sequence_ = Sequence::kNone;  // all but parameters end it
  } else if (c == 0x1b) {
    sequence_ = Sequence::kEscape;
  } else if (sequence_ == Sequence::kEscape && c == '[') {
    sequence_ = Sequence::kControl;
  } else if (sequence_ == Sequence::kEscape && c == 'O') {
    sequence_ = Sequence::kShift;
  } else {
    sequence_ = Sequence::kNone;
  }
}

std::optional<char32_t> TerminalInput::next() {
  const std::optional<char32_t> c = decode();
  if (c) follow(*c);
  return c;
}

std::u32string TerminalInput::paste() {
  std::u32string text;
  while (const std::optional<char32_t> c = next()) {
    if (*c == '\n' && text.ends_with(U'\r')) text.pop_back();
    text += *c == 0 ? kReplacement : *c;  // it would end libedit's line
    if (!text.ends_with(kPasteEnd)) continue;
    text.erase(text.size() - kPasteEnd.size());
    break;
  }
  for (char32_t& c : text)
    if (c == '\r') c = '\n';
  return text;
}

}  // namespace seer::cli
