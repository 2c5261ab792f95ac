// Operations of Python's str on texts. Results keep the origin of every byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/jinja/unicode.h"
#include "tokenizer/jinja/value.h"

namespace seer::jinja {

enum class Side { kLeft, kRight, kBoth };

// Strips `characters`, or white space if they are null.
Text strip(const Text& text, const Text* characters, Side side);
// Splits at `separator`, or at runs of white space if it is null; at most `limit` times unless that is
// negative.
std::vector<Text> split(const Text& text, const Text* separator, int64_t limit);
std::vector<Text> split_right(const Text& text, const Text* separator, int64_t limit);
std::vector<Text> split_lines(const Text& text, bool keep_ends);
Text replace(const Text& text, const Text& old, const Text& with, int64_t limit);
Text map_case(const Text& text, Case to);
Text capitalize(const Text& text);
Text title(const Text& text);           // str.title
Text title_of_words(const Text& text);  // jinja2's filter
Text swap_case(const Text& text);
Text reverse(const Text& text);
// Returns whether there is a cased character and all cased ones are of that case, as str.isupper and
// str.islower do.
bool all_cased(const Text& text, bool upper);
Text join(const Text& separator, const std::vector<Text>& parts);
// Fills a text up to `width` characters. kBoth centers it as str.center does.
Text pad(const Text& text, int64_t width, Side text_at, const Text& fill);

// Parse as Python's int(text, base) and float(text). Return false if these raise a ValueError.
bool parse_int(const std::string& text, int64_t base, int64_t* value);
bool parse_float(const std::string& text, double* value);

}  // namespace seer::jinja
