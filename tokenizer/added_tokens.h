// Tokens that are cut out of a text before the model of the vocabulary sees it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace seer {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = false;
  bool single_word = false;  // only where no letter, digit or underscore touches it
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = false;   // looked for in the normalised text, in a normalised spelling
};

// As the Hugging Face tokenizers library has it: tokens that are not normalised are cut out of the text as it
// is, then the others out of what is left, normalised. In either, matches are found from the left, the
// longest wherever several begin, and none overlaps another; then those that do not count are dropped:
// special tokens without parse_special, and words with single_word inside of others.
class AddedTokens {
 public:
  // A part of a text: an added token (id >= 0) or plain text.
  struct Part {
    int32_t id;
    std::string_view text;
  };
  enum class Stage { kAsWritten, kNormalized };

  // `spelling`: what is looked for: the content, normalised if the token is. A second token of the same id
  // replaces the first.
  void add(AddedToken token, std::string spelling);
  void add(AddedToken token);  // spelled as its content
  const AddedToken* find(int32_t id) const;
  int32_t id_of(std::string_view content) const;  // -1: none
  const std::map<int32_t, AddedToken>& all() const { return tokens_; }
  std::vector<Part> split(std::string_view text, bool parse_special, Stage stage = Stage::kAsWritten) const;

 private:
  struct Entry {
    std::string spelling;
    int32_t id;
  };
  using Entries = std::array<std::vector<Entry>, 256>;  // by the first byte, the longest spelling first

  const Entry* match(const Entries& entries, std::string_view text) const;

  std::map<int32_t, AddedToken> tokens_;
  std::map<std::string, int32_t, std::less<>> ids_;  // by content
  Entries as_written_, normalized_;
};

}  // namespace seer
