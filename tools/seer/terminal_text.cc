#include "tools/seer/terminal_text.h"

#include <algorithm>
#include <cstdint>

#include "tools/seer/format.h"

namespace seer::cli {
namespace {

constexpr uint32_t kInvalid = 0xffffffff;  // bytes that are no character
constexpr size_t kTailBytes = 512;         // of a long line; its end often says what to do

struct Character {
  size_t n_bytes = 0;  // 0: more bytes are needed
  uint32_t code = kInvalid;
};

int bytes_after(unsigned char first) {
  if (first < 0x80) return 0;
  if (first >= 0xc2 && first <= 0xdf) return 1;
  if (first >= 0xe0 && first <= 0xef) return 2;
  return first >= 0xf0 && first <= 0xf4 ? 3 : -1;
}

bool is_too_short_or_no_character(uint32_t code, int n_more) {
  constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  return code < kLeast[n_more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff);
}

// Reads the first character of `text`, which must not be empty. Of bytes that are no character, only the
// first is taken.
Character first_character(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const int n_more = bytes_after(byte(0));
  if (n_more == 0) return {1, byte(0)};
  if (n_more < 0) return {1, kInvalid};
  uint32_t code = byte(0) & (0x3fU >> n_more);
  for (int i = 1; i <= n_more; ++i) {
    if (static_cast<size_t>(i) == text.size()) return {0, kInvalid};
    if ((byte(static_cast<size_t>(i)) & 0xc0U) != 0x80) return {1, kInvalid};
    code = code << 6U | (byte(static_cast<size_t>(i)) & 0x3fU);
  }
  if (is_too_short_or_no_character(code, n_more)) return {1, kInvalid};
  return {static_cast<size_t>(n_more) + 1, code};
}

// Returns whether a character is invisible and yet moves lines or the text around it (separators, and the
// embeddings, overrides and isolates of the bidirectional algorithm), or carries a text of its own (tags).
bool is_hidden(uint32_t code) {
  return (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
         (code >= 0xe0000 && code <= 0xe007f);
}

bool is_control(uint32_t code) { return (code < 0x20 && code != '\n' && code != '\t') || code == 0x7f; }

void append_shown(std::string_view bytes, uint32_t code, std::string* out) {
  if (is_control(code)) {
    *out += '^';
    *out += static_cast<char>(code ^ 0x40U);
  } else if (code == kInvalid) {
    *out += format("\\x%02x", static_cast<unsigned char>(bytes[0]));
  } else if (code >= 0x80 && code <= 0x9f) {
    *out += format("\\x%02x", code);
  } else if (is_hidden(code)) {
    *out += format(code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
  } else {
    *out += bytes;
  }
}

}  // namespace

std::string TerminalFilter::push(std::string_view bytes) {
  held_ += bytes;
  std::string out;
  out.reserve(held_.size());
  std::string_view left = held_;
  while (!left.empty()) {
    const Character c = first_character(left);
    if (c.n_bytes == 0) break;
    append_shown(left.substr(0, c.n_bytes), c.code, &out);
    left.remove_prefix(c.n_bytes);
  }
  held_.erase(0, held_.size() - left.size());
  return out;
}

std::string TerminalFilter::finish() {
  std::string out;
  for (const char& byte : held_) append_shown({&byte, 1}, kInvalid, &out);
  held_.clear();
  return out;
}

std::string visible(std::string_view text) {
  TerminalFilter filter;
  std::string out = filter.push(text);
  return out + filter.finish();
}

std::string one_line(std::string_view text) {
  std::string line;
  if (text.size() > kLongestLine) {
    const std::string note = format(" ... (%zu bytes left out) ... ", text.size() - kLongestLine);
    // A character that is cut in two at either end is shown as its bytes.
    line = visible(text.substr(0, kLongestLine - kTailBytes)) + note +
           visible(text.substr(text.size() - kTailBytes));
  } else {
    line = visible(text);
  }
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return line;
}

}  // namespace seer::cli
