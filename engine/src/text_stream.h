// Turns chosen ids into the text that a user sees: whole UTF-8 characters, up to a stop string.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/src/stop_matcher.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8_stream.h"

namespace seer {

class TextStream {
 public:
  // `tokenizer` may be null, and then the text is empty. at_start: only special tokens came before, so the
  // vocabulary's rule for the first space of a text applies. Throws Error{kUsage} for an empty stop
  // string, and for any stop string if there is no tokenizer.
  TextStream(const TextTokenizer* tokenizer, const std::vector<std::string>& stops, bool at_start);

  // Returns the text that became certain with this token. An id beyond the tokenizer's vocabulary, which a
  // model with a padded vocabulary may choose, has no text. If look_for_stops is false, stop strings are only
  // looked for after the token's text.
  std::string push(int32_t id, bool look_for_stops = true);
  // Must be called when no token follows. Returns the rest of the text.
  std::string finish();
  bool stopped() const { return stops_.matched(); }
  const std::string& stop() const { return stops_.match(); }

 private:
  const TextTokenizer* tokenizer_;
  StopMatcher stops_;
  Utf8Stream utf8_;
  bool at_start_;
};

}  // namespace seer
