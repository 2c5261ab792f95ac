// Regular expressions of tokenizer files, with Oniguruma's meaning, matched by PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/splitting.h"

namespace seer {

class Regex {
 public:
  // Throws Error{kUnsupported} that names `origin` for a pattern that is not supported (see oniguruma.h).
  Regex(const std::string& pattern, const std::string& origin);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Appends the matches and the text between them, in order, with nothing left out. A match may be empty.
  // Bytes that are not UTF-8 match nothing. Many threads may call it; a StopCheck of the thread may stop it
  // between matches. Throws Error{kUnsupported} that names the pattern if a match takes more than 10 million
  // steps and 16 for each byte of the text, or more than 64 MiB. Throws Error{kRuntime} if PCRE2 fails in
  // another way.
  void find(std::string_view text, std::vector<Span>* spans) const;

  const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  [[noreturn]] void fail(int error, size_t n_bytes) const;

  std::string pattern_, origin_;
  // complete_ is for text with characters of unicode_additions.h; plain_ is faster, for text without them.
  std::unique_ptr<Code> complete_, plain_;
};

}  // namespace seer
