// Unicode regular expressions, by PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

class Regex {
 public:
  // Throws Error{kUnsupported} that names `origin` for a pattern PCRE2 does not take.
  Regex(const std::string& pattern, const std::string& origin);
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;

  // Matches and what lies between them, in order, nothing left out. Bytes that are not UTF-8 match nothing.
  // Throws Error{kRuntime} where PCRE2 gives up. Safe from many threads.
  void split(std::string_view text, std::vector<std::string_view>* parts) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
