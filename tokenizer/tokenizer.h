// The interface of every tokenizer to the engine. sentencepiece.h and bpe.h implement it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/marked_text.h"
#include "tokenizer/tokenizer_config.h"

namespace seer {

// A tokenizer is immutable after construction, and many threads may use it.
class TextTokenizer {
 public:
  virtual ~TextTokenizer() = default;

  // Returns the ids of `text` without BOS/EOS. With parse_special, special tokens written out in the text
  // become their ids. Text is taken byte for byte; bytes that are not UTF-8 never fail. A StopCheck of the
  // thread may stop it.
  virtual std::vector<int32_t> encode(std::string_view text, bool parse_special) const = 0;
  // Returns the ids of a chat prompt without BOS/EOS. `text` is tokenized as a whole, with special tokens
  // parsed, but no message can write a special token or one of `guarded`; a message's spelling of such a
  // token is plain text. `guarded` are the ids of the other added tokens with which the template opens turns.
  // Throws Error{kUnsupported} if the normaliser joins a message's characters to the template's and such a
  // token is looked for in normalised text.
  virtual std::vector<int32_t> encode(const MarkedText& text, const std::vector<int32_t>& guarded) const = 0;
  // Returns a lower bound of the number of ids that encode() gives, with parse_special or without, from the
  // text's length in bytes alone. Returns 0 if the vocabulary's rules may drop or join so much that nothing
  // is certain.
  virtual int64_t least_tokens(std::string_view text) const = 0;
  // Returns the bytes that one id stands for in the middle of a text (a leading space is kept). They are
  // empty for special tokens, and for ids that no token has.
  virtual std::string piece(int32_t id) const = 0;
  // Returns the whole text, with the vocabulary's rule for the first space of a text applied. If skip_special
  // is false, special tokens are written out. Ids that no token has are left out.
  virtual std::string decode(const std::vector<int32_t>& ids, bool skip_special) const = 0;

  virtual int64_t n_vocab() const = 0;
  virtual int32_t bos_id() const = 0;  // -1 if there is none
  virtual int32_t eos_id() const = 0;  // -1 if there is none
  virtual bool add_bos() const = 0;    // as the files say
  virtual bool add_eos() const = 0;
  virtual bool is_special(int32_t id) const = 0;
  // Returns the id of the special token with this text; -1 if there is none.
  virtual int32_t special_id(std::string_view text) const = 0;
  // Returns the id of any added token with this text; -1 if there is none.
  virtual int32_t added_id(std::string_view text) const = 0;
  // Returns the ids and texts of the added tokens whose texts are somewhere in `text`.
  virtual std::vector<std::pair<int32_t, std::string>> added_tokens_in(std::string_view text) const = 0;
  // Returns whether decode() drops the space that the first piece of a text begins with (SentencePiece's
  // dummy prefix).
  virtual bool strips_first_space() const = 0;
  virtual std::string kind() const = 0;  // "sentencepiece", "bpe (byte-level)", "bpe (metaspace)"
  // A summary of the files, for people.
  struct Description {
    std::string normalizer, splits;  // "NFC", "Qwen2 pattern"; "none"
    int64_t n_added = 0;             // added tokens, including the special ones
    int64_t n_special = 0;
    std::string note;  // a part of the files that was not followed, and the reason; empty if there is none
  };
  virtual Description description() const { return {}; }
};

// Reads tokenizer.json, or else tokenizer.model, of a checkpoint's folder. `config` must be of the same
// folder. Throws Error{kFile} or Error{kUnsupported}, naming the file.
//
// For a tokenizer.json, its post_processor decides whether BOS and EOS are added, as in transformers 5;
// transformers 4 and llama.cpp follow add_bos_token and add_eos_token of tokenizer_config.json. For a
// tokenizer.model, tokenizer_config.json decides.
//
// tokenizer.json also decides how a text is divided, as in the tokenizers package, transformers 4 and
// llama.cpp. transformers 5 replaces this part by the code of some tokenizer classes, so that its
// GPT2Tokenizer does not divide SmolLM2's numbers into digits.
std::unique_ptr<TextTokenizer> load_tokenizer(const std::string& model_dir, const TokenizerConfig& config);
std::unique_ptr<TextTokenizer> load_tokenizer(const std::string& model_dir);  // also reads the config

}  // namespace seer
