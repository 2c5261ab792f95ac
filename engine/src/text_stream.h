// Turns chosen ids into the text a user sees: whole UTF-8 characters, up to a stop string.
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
  // `tokenizer` may be null: the text is then empty. at_start: nothing but special tokens came before, so
  // that the vocabulary's rule for the first space of a text applies. Throws Error{kUsage} for stop strings
  // that are empty, or that no tokenizer could produce.
  TextStream(const TextTokenizer* tokenizer, const std::vector<std::string>& stops, bool at_start);

  // The text that became certain with this token. An id beyond the tokenizer's vocabulary, which a model
  // whose vocabulary is padded may choose, has none. look_for_stops false: stop strings are not looked for in
  // the token's text; they may begin after it.
  std::string push(int32_t id, bool look_for_stops = true);
  // The rest; no token follows.
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
