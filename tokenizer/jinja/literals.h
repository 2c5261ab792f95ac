// Literals of a template's expressions, spelled as in Python.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace seer::jinja {

struct NumberLiteral {
  size_t size = 0;  // in bytes
  bool real = false;
  bool too_large = false;  // an integer of more than 64 bits
  int64_t integer = 0;
  double value = 0;
};

// Reads the number that the text begins with. The first character must be a digit.
NumberLiteral read_number_literal(std::string_view text, bool may_be_real);

// Replaces the escapes of a string literal. Returns an error message ("not supported: ..." for an escape that
// Python knows), or an empty text.
std::string unescape(std::string_view literal, std::string* text);

}  // namespace seer::jinja
