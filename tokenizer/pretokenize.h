// The pre_tokenizer of a tokenizer.json, which divides a text into words. Merges do not cross the borders of
// words.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "tokenizer/text_bound.h"

namespace seer {

// The words of a text. They are views of it, or of `owned` if a step has changed them.
struct Words {
  std::vector<std::string_view> list;
  std::deque<std::string> owned;
  bool at_start = false;  // the first word begins at the start of the whole text
};

// A Pretokenizer is immutable, and many threads may use it.
class Pretokenizer {
 public:
  // Reads BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, Metaspace, Punctuation, Split (by a string
  // or a regular expression, with any behavior), Whitespace, WhitespaceSplit, or a Sequence of them. If it is
  // absent or null, a text is one word. Throws Error{kUnsupported} that names any other type, and
  // Error{kFile} if it is malformed.
  Pretokenizer(const Json& tokenizer, const std::string& path);
  ~Pretokenizer();

  // Returns whether the vocabulary consists of bytes spelled in GPT-2's alphabet.
  bool byte_level() const { return byte_level_; }
  // Returns whether the words are the text's own bytes, so that the caller has to spell them in that
  // alphabet. If this is false and byte_level() is true, the words are spelled already, because a step after
  // ByteLevel had to see them so.
  bool spells_bytes_last() const { return byte_level_ && !spells_; }
  // `first` says that nothing comes before the text, not even an added token.
  Words split(std::string_view text, bool first) const;
  // Tells `bound` how much text the steps may remove.
  void restrict(TextBound* bound) const { bound_.combine(bound); }
  // Returns text for people: "Qwen2 pattern", "5 regular expressions, single digits", "none".
  std::string description() const;

 private:
  class Step;
  class Division;
  void add(const Json& node, const std::string& path);
  void add_split(const Json& node, const std::string& path);
  void add_byte_level(const Json& node, const std::string& path);
  void add_spelling();
  void add_metaspace(const Json& node, const std::string& path);
  void name_regex(const std::string& pattern);

  std::vector<std::unique_ptr<Step>> steps_;
  TextBound bound_;
  bool byte_level_ = false;
  bool spells_ = false;             // steps have spelled bytes in the alphabet
  bool spelled_ = false;            // the last ByteLevel's bytes are spelled
  std::vector<std::string> names_;  // the names of the steps that have one
  int n_unnamed_ = 0;               // the number of regular expressions without a name
};

}  // namespace seer
