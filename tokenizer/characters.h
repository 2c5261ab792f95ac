// Classes of characters, as tokenizers 0.23.3 has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace seer {

// Of code points; false for any other number. White space is Unicode's White_Space; numeric are the
// categories Nd, Nl and No; punctuation are the categories P of an older Unicode and the other printable
// signs of ASCII; a word has letters, marks, decimal digits, connectors such as the underscore, and joiners
// (what \w is in Unicode Technical Standard 18).
bool is_white_space(int32_t point);
bool is_numeric(int32_t point);
bool is_punctuation(int32_t point);
bool is_word_character(int32_t point);

// The bytes of white space (Unicode's White_Space) that a text begins or ends with.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);
size_t count_white_space(std::string_view text);  // all bytes of it
// Whether the first or last character is one of a word. Bytes that are not UTF-8 are none.
bool begins_with_word(std::string_view text);
bool ends_with_word(std::string_view text);

// Every character in lower case by itself, without regard to its neighbours. Bytes that are not UTF-8 stay.
std::string lower_case(std::string_view text);

void replace_all(std::string* text, std::string_view pattern, std::string_view content);

}  // namespace seer
