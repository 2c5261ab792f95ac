// Unicode's normal forms (Unicode Standard Annex 15), by utf8proc.
#pragma once

#include <string>
#include <string_view>

namespace seer {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Bytes that are not UTF-8 stay as they are: no character composes with another across them. Takes time in
// proportion to the text, but for a run of n combining marks, which is sorted.
std::string normal_form(std::string_view text, NormalForm form);

}  // namespace seer
