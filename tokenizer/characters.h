// White space and word characters as Unicode has them, at the ends of a text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace seer {

// The bytes of white space (Unicode's White_Space) that a text begins or ends with.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);
// Whether the first or last character is one of a word: a letter, mark, decimal digit, connector such as the
// underscore, or joiner (what \w is in Unicode Technical Standard 18). Bytes that are not UTF-8 are none.
bool begins_with_word(std::string_view text);
bool ends_with_word(std::string_view text);

void replace_all(std::string* text, std::string_view pattern, std::string_view content);

}  // namespace seer
