// The decoder of a tokenizer.json, which turns the names of tokens into a text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"

namespace seer {

// A TokenDecoder is immutable, and many threads may use it.
class TokenDecoder {
 public:
  TokenDecoder() = default;  // puts the names together unchanged
  // Reads the decoder: ByteLevel, ByteFallback, Fuse, Metaspace, Replace (of a one-character string), Strip
  // (of spaces at the start), or a Sequence of them. Throws Error{kUnsupported} that names any other type.
  // Also throws it if there is no decoder, since the tokenizers package would then put spaces between the
  // tokens. Throws Error{kFile} if the decoder is malformed.
  TokenDecoder(const Json& tokenizer, const std::string& path);
  // Returns the decoder of SentencePiece's pieces. With `strips` it drops the first space of a text.
  static TokenDecoder of_sentencepiece(bool strips);

  // Returns the text that the tokens of these names stand for. Bytes that are not UTF-8 become U+FFFD as in
  // the tokenizers package: one for each maximal subpart with ByteLevel, and with ByteFallback one for each
  // byte of a run of byte tokens that is not UTF-8 as a whole.
  std::string decode(std::vector<std::string> names) const;
  // Returns the bytes that one token stands for in the middle of a text. They are a part of decode()'s result
  // if that is UTF-8.
  std::string piece(std::string_view name) const;
  // Returns the name under which an added token of this content is decoded: the content, unless ByteLevel
  // would turn it into bytes that are not UTF-8. (The tokenizers package does turn the added token "\u00FC"
  // of DeepSeek LLM into U+FFFD.)
  std::string name_of_added(const std::string& content) const;
  // Returns whether decode() drops a space at the beginning of a text.
  bool strips_first_space() const;

 private:
  enum class Kind { kByteLevel, kByteFallback, kFuse, kMetaspace, kReplace, kStrip };
  struct Step {
    Kind kind;
    std::string pattern, content;  // of kReplace; for kMetaspace the pattern is its replacement character
    bool prepended = false;        // kMetaspace: the first token of a text loses its spaces
  };

  void add(const Json& node, const std::string& path);
  void check_order(const std::string& path) const;

  std::vector<Step> steps_;
};

}  // namespace seer
