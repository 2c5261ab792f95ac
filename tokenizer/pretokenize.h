// The pre_tokenizer of a tokenizer.json: a text becomes the words that merges may not cross.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "tokenizer/text_bound.h"

namespace seer {

// The words of a text: views of it, or of `owned` if a step has changed them.
struct Words {
  std::vector<std::string_view> list;
  std::deque<std::string> owned;
  bool at_start = false;  // the first word begins where the whole text does
};

// Immutable; safe from many threads.
class Pretokenizer {
 public:
  // Reads BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, Metaspace, Punctuation, Split (by a string
  // or a regular expression, with any behavior), Whitespace, WhitespaceSplit, or a Sequence of them. If it is
  // absent or null, a text is one word. Throws Error{kUnsupported} that names any other type, and
  // Error{kFile} if it is malformed.
  Pretokenizer(const Json& tokenizer, const std::string& path);
  ~Pretokenizer();

  // Whether the vocabulary is of bytes spelled in GPT-2's alphabet.
  bool byte_level() const { return byte_level_; }
  // Whether words are the text's own bytes, to be spelled in that alphabet. If byte_level() and not this, a
  // step that follows ByteLevel has seen them spelled, and they are.
  bool spells_bytes_last() const { return byte_level_ && !spells_; }
  // `first`: nothing comes before the text, not even an added token.
  Words split(std::string_view text, bool first) const;
  void restrict(TextBound* bound) const { bound_.combine(bound); }  // by what the steps may take away
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
  bool spells_ = false;             // steps spell bytes in the alphabet
  bool spelled_ = false;            // those of the last ByteLevel
  std::vector<std::string> names_;  // of steps that have one
  int n_unnamed_ = 0;               // regular expressions without one
};

}  // namespace seer
