// Unicode's normal forms (Unicode Standard Annex 15), by utf8proc, with the characters of Unicode 9: the
// tables of the Hugging Face tokenizers library, which vocabularies were made with, have no others.
#pragma once

#include <string>
#include <string_view>

namespace seer {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Bytes that are not UTF-8, and characters that came after Unicode 9, stay as they are: no character moves
// past them or composes with another across them. Takes time in proportion to the text, but for a run of n
// combining marks, which is sorted.
std::string normal_form(std::string_view text, NormalForm form);

}  // namespace seer
