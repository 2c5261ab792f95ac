// Unicode's normal forms (Unicode Standard Annex 15), computed by utf8proc for the characters of Unicode 9
// only. The Hugging Face tokenizers library, with which vocabularies were made, has tables of Unicode 9.
#pragma once

#include <string>
#include <string_view>

namespace seer {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Returns the normal form of `text`. Bytes that are not UTF-8, and characters that were added after Unicode
// 9, stay as they are: no character moves past them or composes with another across them. The time is
// proportional to the length of the text, plus n log n for each run of n combining marks, which is sorted.
std::string normal_form(std::string_view text, NormalForm form);

}  // namespace seer
