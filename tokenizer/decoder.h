// The decoder of a tokenizer.json: the names of tokens become a text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"

namespace seer {

// Immutable; safe from many threads.
class Decoder {
 public:
  Decoder() = default;  // which puts names together as they are
  // Reads the decoder: ByteLevel, ByteFallback, Fuse, Metaspace, Replace (of a one-character string), Strip
  // (of spaces at the start), or a Sequence of them. Throws Error{kUnsupported} that names any other type or
  // that no decoder is there (the tokenizers package would then put spaces between the tokens), and
  // Error{kFile} if the decoder is malformed.
  Decoder(const Json& tokenizer, const std::string& path);
  // The decoder of SentencePiece's pieces. strips: the first space of a text is dropped.
  static Decoder of_sentencepiece(bool strips);

  // The text that the tokens of these names stand for. Bytes that are not UTF-8 become U+FFFD as the
  // tokenizers package has it: one for each maximal subpart with ByteLevel, and with ByteFallback one for
  // each byte of a run of byte tokens that is not UTF-8 as a whole.
  std::string decode(std::vector<std::string> names) const;
  // The bytes that one token stands for in the middle of a text: a part of decode()'s, if that is UTF-8.
  std::string piece(std::string_view name) const;
  // The name under which an added token of this content is decoded: the content, unless ByteLevel would make
  // of it what is not UTF-8. (The tokenizers package does make U+FFFD of the added token "\u00FC" of DeepSeek
  // LLM.)
  std::string name_of_added(const std::string& content) const;
  // Whether decode() drops a space that a text begins with.
  bool strips_first_space() const;

 private:
  enum class Kind { kByteLevel, kByteFallback, kFuse, kMetaspace, kReplace, kStrip };
  struct Step {
    Kind kind;
    std::string pattern, content;  // of kReplace; kMetaspace's replacement is the pattern
    bool prepended = false;        // kMetaspace: the first token of a text loses its spaces
  };

  void add(const Json& node, const std::string& path);
  void check_order(const std::string& path) const;

  std::vector<Step> steps_;
};

}  // namespace seer
