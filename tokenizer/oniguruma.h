// Regular expressions of tokenizer files. The Hugging Face tokenizers library matches them with Oniguruma in
// Ruby's syntax, whose meaning differs from PCRE2's in places.
#pragma once

#include <string>
#include <string_view>

namespace seer {

// Returns the pattern for PCRE2 (with PCRE2_UTF, PCRE2_UCP, PCRE2_MULTILINE and line ends of LF alone) that
// has the same matches as `pattern` in Oniguruma. With `with_additions`, the pattern tells PCRE2 the
// characters of unicode_additions.h, which makes sets larger and matching slower. Throws Error{kUnsupported}
// that names `origin` and the part for which there is no such pattern.
std::string pcre2_of_oniguruma(std::string_view pattern, bool with_additions, const std::string& origin);

}  // namespace seer
