// Classes of characters, the same as in tokenizers 0.23.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace seer {

inline constexpr std::string_view kVisibleSpace =
    "\xE2\x96\x81";  // U+2581, which SentencePiece writes for a space

// Each takes a code point and returns false for any other number. White space is Unicode's White_Space.
// Numeric characters are those of the categories Nd, Nl and No. Punctuation is the categories P of an older
// Unicode and the other printable signs of ASCII. Word characters are letters, marks, decimal digits,
// connectors such as the underscore, and joiners (\w in Unicode Technical Standard 18).
bool is_white_space(int32_t point);
bool is_numeric(int32_t point);
bool is_punctuation(int32_t point);
bool is_word_character(int32_t point);

// Return how many bytes of white space (Unicode's White_Space) a text begins or ends with.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);
size_t count_white_space(std::string_view text);  // in bytes, all over the text
// Return whether the first or last character is a word character. Bytes that are not UTF-8 are not.
bool begins_with_word(std::string_view text);
bool ends_with_word(std::string_view text);

// Returns the text with every character in lower case by itself, without regard to its neighbours. Bytes that
// are not UTF-8 stay.
std::string lower_case(std::string_view text);

void replace_all(std::string* text, std::string_view pattern, std::string_view content);

}  // namespace seer
