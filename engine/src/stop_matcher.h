// Finds stop strings in streamed text. It holds back only text that could still become one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace seer {

class StopMatcher {
 public:
  // Throws Error{kUsage} for an empty stop string.
  explicit StopMatcher(std::vector<std::string> stops);

  // Adds text, and returns the text that certainly lies before any stop string; after a match, always
  // nothing.
  std::string push(std::string_view text);
  // Must be called when the text has ended without a match. Returns the text that was held back.
  std::string finish();
  bool matched() const { return !match_.empty(); }
  const std::string& match() const { return match_; }  // the stop string met first

 private:
  std::vector<std::string> stops_;
  std::string pending_;
  std::string match_;
};

}  // namespace seer
