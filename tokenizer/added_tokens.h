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
};

class AddedTokens {
 public:
  // A part of a text: an added token (id >= 0) or plain text.
  struct Part {
    int32_t id;
    std::string_view text;
  };

  void add(AddedToken token);  // a second token of the same id replaces the first
  const AddedToken* find(int32_t id) const;
  int32_t id_of(std::string_view content) const;  // -1: none
  const std::map<int32_t, AddedToken>& all() const { return tokens_; }
  // The longest token wherever several begin. Special tokens are found only with parse_special.
  std::vector<Part> split(std::string_view text, bool parse_special) const;

 private:
  const AddedToken* match(std::string_view text, size_t at, bool parse_special) const;

  std::map<int32_t, AddedToken> tokens_;
  std::array<std::vector<int32_t>, 256> by_first_byte_;  // ids, the longest content first
};

}  // namespace seer
