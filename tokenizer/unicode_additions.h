// Characters that came with Unicode 15.0, 15.1 and 16.0. The PCRE2 of Debian 12 knows Unicode 14 and has no
// category for them, while the Hugging Face tokenizers library knows Unicode 16.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace seer {

// Returns the general category of one of these code points ("Lu"), or an empty text for any other.
std::string_view unicode_addition(int32_t point);
// Returns the lower case of one of these code points.
int32_t addition_in_lower_case(int32_t point);
bool has_unicode_additions(std::string_view text);

// Returns those of a general category ("L", "Lu") or of the script Han, as ranges for a set of a regular
// expression ("\x{1C89}-\x{1C8A}..."); empty for any other property.
std::string unicode_additions(std::string_view property);

}  // namespace seer
