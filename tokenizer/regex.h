// Regular expressions of tokenizer files, with Oniguruma's meaning, by PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

class Regex {
 public:
  // Throws Error{kUnsupported} that names `origin` for a pattern that is not taken (oniguruma.h).
  Regex(const std::string& pattern, const std::string& origin);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Matches and what lies between them, in order, nothing left out; an empty match divides what is around it.
  // Bytes that are not UTF-8 match nothing. Throws Error{kRuntime} where PCRE2 gives up. Safe from many
  // threads.
  void split(std::string_view text, std::vector<std::string_view>* parts) const;

 private:
  struct Code;
  // For text with the characters of unicode_additions.h, and, faster, for text without.
  std::unique_ptr<Code> complete_, plain_;
};

}  // namespace seer
