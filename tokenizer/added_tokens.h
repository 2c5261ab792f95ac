// Tokens that are cut out of a text before the vocabulary's model sees it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace seer {

struct AddedToken {
  int32_t id = -1;
  std::string content;
  bool special = false;
  bool single_word = false;  // counts only if no word character touches it
  bool lstrip = false;       // includes the white space before it
  bool rstrip = false;       // includes the white space after it
  bool normalized = false;   // is looked for in the normalised text, in a normalised spelling
  bool named = false;        // a file names it as bos_token, pad_token or the like
};

// Says who wrote each byte of a text, because messages must not write every token. A text of a single writer
// needs no Authorship.
struct Authorship {
  // The byte ranges of the text that messages wrote: half-open, in order, not empty.
  std::vector<std::pair<size_t, size_t>> from_messages;
  // The ids of the tokens that only the template writes.
  const std::set<int32_t>* reserved = nullptr;

  bool by_messages(size_t begin, size_t end) const;  // whether a message wrote any byte of the range
  bool by_template(size_t begin, size_t end) const;  // whether the template wrote any byte of the range
};

// Added tokens are found as the Hugging Face tokenizers library finds them. Tokens that are not normalised
// are cut out of the text as it is; then the others are cut out of the rest, normalised. In both stages
// matches are found from the left, the longest one if several begin at a place, and none overlaps another.
// Then matches that do not count are dropped: special tokens without parse_special, and single_word tokens
// inside of other words. If an Authorship is given, a reserved token is no match if a message wrote a byte of
// it. Neither is another token that lies across the border of a message and covers the beginning of a
// reserved token that the template wrote.
class AddedTokens {
 public:
  // A part of a text: an added token (id >= 0) or plain text.
  struct Part {
    int32_t id;
    std::string_view text;
  };
  enum class Stage { kAsWritten, kNormalized };

  // `spelling` is the text that is looked for: the content, normalised if the token is. A second token of the
  // same id replaces the first.
  void add(AddedToken token, std::string spelling);
  void add(AddedToken token);  // adds it with its content as spelling
  const AddedToken* find(int32_t id) const;
  int32_t id_of(std::string_view content) const;  // -1 if there is none
  bool respelled(int32_t id) const;  // whether a normalised token is looked for in another spelling than its
                                     // content
  const std::map<int32_t, AddedToken>& all() const { return tokens_; }
  std::vector<Part> split(std::string_view text, bool parse_special, Stage stage = Stage::kAsWritten,
                          const Authorship* authors = nullptr) const;
  // Returns the ids and contents of the tokens whose content is somewhere in the text, in the order of their
  // ids.
  std::vector<std::pair<int32_t, std::string>> found_in(std::string_view text) const;
  size_t longest_spelling() const;
  bool take_white_space_along() const;  // whether any token includes white space next to it

 private:
  // The spellings that are looked for, in the order of their bytes. Vocabularies may have tens of thousands
  // of added tokens, and a text is searched for all of them at once.
  struct Entries {
    // By spelling. The token added first is first.
    std::map<std::string, std::vector<int32_t>, std::less<>> ids;
    std::array<int32_t, 256> n_beginning{};  // the number of spellings with each first byte

    void add(const std::string& spelling, int32_t id);
    void remove(const std::string& spelling, int32_t id);
  };
  struct Match {
    int32_t id = -1;  // -1 if there is no match
    size_t size = 0;
  };

  Match match(std::string_view text, size_t at, Stage stage, const Authorship* authors) const;
  bool allowed(std::string_view text, size_t begin, size_t end, int32_t id, Stage stage,
               const Authorship& authors) const;

  std::map<int32_t, AddedToken> tokens_;
  std::map<std::string, int32_t, std::less<>> ids_;  // by content
  std::map<int32_t, std::string> spellings_;         // of the normalised tokens
  Entries as_written_, normalized_;
};

}  // namespace seer
