#include "tokenizer/jinja/literals.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "tokenizer/jinja/text.h"

namespace seer::jinja {
namespace {

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

char at_or_zero(std::string_view text, size_t i) { return i < text.size() ? text[i] : '\0'; }

// Returns the end of digits of a base, which single underscores may divide, or `at` if there are none.
size_t digits_end(std::string_view text, size_t at, int base, bool underscore_first) {
  size_t i = at;
  while (true) {
    const bool underscore = at_or_zero(text, i) == '_' && (i > at || underscore_first);
    const size_t next = i + (underscore ? 1 : 0);
    if (digit_value(at_or_zero(text, next)) >= base) return i;
    i = next + 1;
  }
}

std::string without_underscores(std::string_view text) {
  std::string plain;
  for (const char c : text)
    if (c != '_') plain.push_back(c);
  return plain;
}

// Returns the end of a float that begins with the digits [0, whole), or 0 if there is none.
size_t real_end(std::string_view text, size_t whole) {
  size_t end = whole;
  bool real = false;
  if (at_or_zero(text, end) == '.') {
    const size_t fraction = digits_end(text, end + 1, 10, false);
    if (fraction > end + 1) {
      end = fraction;
      real = true;
    }
  }
  const char e = at_or_zero(text, end);
  if (e == 'e' || e == 'E') {
    const char sign = at_or_zero(text, end + 1);
    const size_t begin = end + (sign == '+' || sign == '-' ? 2 : 1);
    const size_t exponent = digits_end(text, begin, 10, false);
    if (exponent > begin) return exponent;
  }
  return real ? end : 0;
}

NumberLiteral integer(std::string_view text, size_t prefix, size_t end, int base) {
  NumberLiteral number;
  number.size = end;
  errno = 0;
  number.integer =
      std::strtoll(without_underscores(text.substr(prefix, end - prefix)).c_str(), nullptr, base);
  number.too_large = errno == ERANGE;
  return number;
}

}  // namespace

NumberLiteral read_number_literal(std::string_view text, bool may_be_real) {
  const size_t whole = digits_end(text, 0, 10, false);
  const size_t real = may_be_real ? real_end(text, whole) : 0;
  if (real != 0) {
    NumberLiteral number;
    number.size = real;
    number.real = true;
    number.value = std::strtod(without_underscores(text.substr(0, real)).c_str(), nullptr);
    return number;
  }
  if (text[0] != '0') return integer(text, 0, whole, 10);
  const char mark = static_cast<char>(at_or_zero(text, 1) | 0x20);
  const int base = mark == 'b' ? 2 : mark == 'o' ? 8 : mark == 'x' ? 16 : 0;
  if (base != 0) {
    const size_t end = digits_end(text, 2, base, true);
    if (end > 2) return integer(text, 2, end, base);
  }
  return integer(text, 0, digits_end(text, 0, 1, false), 10);  // several zeros, as in "00"
}

std::string unescape(std::string_view literal, std::string* text) {
  constexpr std::string_view kSimple = "\\'\"abfnrtv", kMeaning = "\\'\"\a\b\f\n\r\t\v";
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\') {
      text->push_back(literal[i]);
      continue;
    }
    const char c = at_or_zero(literal, ++i);
    const size_t simple = kSimple.find(c);
    const size_t n_hex = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (c == '\n') continue;
    if (simple != std::string_view::npos) {
      text->push_back(kMeaning[simple]);
    } else if (c >= '0' && c <= '7') {
      int32_t point = 0;
      size_t n = 0;
      for (; n < 3 && digit_value(at_or_zero(literal, i + n)) < 8; ++n)
        point = point * 8 + digit_value(literal[i + n]);
      i += n - 1;
      append_point(text, point);
    } else if (n_hex != 0) {
      int64_t point = 0;
      for (size_t n = 1; n <= n_hex; ++n) {
        const int value = digit_value(at_or_zero(literal, i + n));
        if (value >= 16) return std::string("truncated \\") + c + " escape";
        point = point * 16 + value;
      }
      i += n_hex;
      if (point > 0x10FFFF) return "illegal Unicode character";
      if (point >= 0xD800 && point <= 0xDFFF)
        return "not supported: a string with one half of a surrogate pair";
      append_point(text, static_cast<int32_t>(point));
    } else if (c == 'N') {
      return "not supported: the escape \\N in a string";
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      // jinja2 first writes the character as an escape, and the backslash then escapes the backslash of that
      // escape.
      const int32_t point = point_at(literal, i);
      char escape[16];
      std::snprintf(escape, sizeof escape,
                    point < 0x100     ? "\\x%02x"
                    : point < 0x10000 ? "\\u%04x"
                                      : "\\U%08x",
                    static_cast<unsigned>(point));
      text->append(escape);
      i += point_size(c) - 1;
    } else {
      text->push_back('\\');
      text->push_back(c);
    }
  }
  return {};
}

}  // namespace seer::jinja
