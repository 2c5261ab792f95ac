// The properties of characters in Python's str.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/jinja/text.h"

namespace seer::jinja {

bool is_space(int32_t point);     // str.isspace, and \s of regular expressions
bool is_line_end(int32_t point);  // str.splitlines splits at it
bool is_word(int32_t point);      // \w of regular expressions
bool is_identifier_start(int32_t point);
bool is_identifier_part(int32_t point);
bool is_printable(int32_t point);  // repr shows it unchanged
bool is_alpha(int32_t point);
bool is_decimal(int32_t point);
bool is_digit(int32_t point);
bool is_numeric(int32_t point);
bool is_upper(int32_t point);
bool is_lower(int32_t point);
bool is_title(int32_t point);
bool is_cased(int32_t point);
bool is_case_ignorable(int32_t point);

enum class Case { kUpper, kLower, kTitle };
// Appends the mapping of one character, which may be several characters (U+00DF becomes "SS").
void append_case(std::string* bytes, int32_t point, Case to);

// Return how many bytes of white space a text begins or ends with.
size_t leading_spaces(std::string_view text);
size_t trailing_spaces(std::string_view text);

}  // namespace seer::jinja
