// Regular expressions of tokenizer files, with Oniguruma's meaning, by PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/splitting.h"

namespace seer {

class Regex {
 public:
  // Throws Error{kUnsupported} that names `origin` for a pattern that is not taken (oniguruma.h).
  Regex(const std::string& pattern, const std::string& origin);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Appends the matches and what lies between them, in order, nothing left out. A match may be empty. Bytes
  // that are not UTF-8 match nothing. Throws Error{kUnsupported} that names the pattern if a match takes more
  // than 10 million steps and 16 for each byte of the text, or more than 64 MiB; Error{kRuntime} if PCRE2
  // fails in another way. Safe from many threads; a StopCheck of the thread may stop it between matches.
  void find(std::string_view text, std::vector<Span>* spans) const;

  const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  [[noreturn]] void fail(int error, size_t n_bytes) const;

  std::string pattern_, origin_;
  // For text with the characters of unicode_additions.h, and, faster, for text without.
  std::unique_ptr<Code> complete_, plain_;
};

}  // namespace seer
