// Finds stop strings in streamed text, holding back only what could still become one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace seer {

class StopMatcher {
 public:
  // Throws Error{kUsage} for an empty stop string.
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds text and returns what is certain to lie before any stop string. After a match, nothing more.
  std::string push(std::string_view text);
  // What was held back; the text has ended without a match.
  std::string finish();
  bool matched() const { return !match_.empty(); }
  const std::string& match() const { return match_; }  // the stop string met first

 private:
  std::vector<std::string> stops_;
  std::string pending_;
  std::string match_;
};

}  // namespace seer
