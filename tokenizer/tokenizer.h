// What the engine asks of every tokenizer; sentencepiece.h and bpe.h implement it.
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

// Immutable after construction, safe from many threads.
class TextTokenizer {
 public:
  virtual ~TextTokenizer() = default;

  // Ids of `text` without BOS/EOS. parse_special: special tokens written out in the text become their ids.
  // Text is taken byte for byte; bytes that are not UTF-8 never fail. A StopCheck of the thread may stop it.
  virtual std::vector<int32_t> encode(std::string_view text, bool parse_special) const = 0;
  // Ids of a chat prompt without BOS/EOS: `text` as a whole, special tokens parsed, except that no message
  // writes a special token or one of `guarded`, the ids of other added tokens that the template opens turns
  // with: what a message wrote of such a token is plain text. Throws Error{kUnsupported} where the normaliser
  // joins a message's characters to the template's and such a token is looked for in normalised text.
  virtual std::vector<int32_t> encode(const MarkedText& text, const std::vector<int32_t>& guarded) const = 0;
  // So many ids at least has `text` with parse_special or without, found by its length in bytes alone: not
  // more than encode() gives, and 0 if the vocabulary's rules may drop or join so much that nothing can be
  // told.
  virtual int64_t least_tokens(std::string_view text) const = 0;
  // The bytes one id stands for, as it appears in the middle of a text (a leading space kept). Empty for
  // special tokens, and for ids that no token has.
  virtual std::string piece(int32_t id) const = 0;
  // The whole text; the vocabulary's rule for the first space of a text applied. skip_special false: special
  // tokens are written out. Ids that no token has are left out.
  virtual std::string decode(const std::vector<int32_t>& ids, bool skip_special) const = 0;

  virtual int64_t n_vocab() const = 0;
  virtual int32_t bos_id() const = 0;  // -1: none
  virtual int32_t eos_id() const = 0;  // -1: none
  virtual bool add_bos() const = 0;    // the files' policy
  virtual bool add_eos() const = 0;
  virtual bool is_special(int32_t id) const = 0;
  virtual int32_t special_id(std::string_view text) const = 0;  // of a special token by its text; -1: none
  virtual int32_t added_id(std::string_view text) const = 0;    // of any added token by its text; -1: none
  // The added tokens whose texts are somewhere in `text`, with these.
  virtual std::vector<std::pair<int32_t, std::string>> added_tokens_in(std::string_view text) const = 0;
  // True where decode() drops the space that the first piece of a text begins with (SentencePiece's dummy
  // prefix).
  virtual bool strips_first_space() const = 0;
  virtual std::string kind() const = 0;  // "sentencepiece", "bpe (byte-level)", "bpe (metaspace)"
  // What was read of the files, for people.
  struct Description {
    std::string normalizer, splits;  // "NFC", "Qwen2 pattern"; "none"
    int64_t n_added = 0;             // added tokens, the special ones among them
    int64_t n_special = 0;
    std::string note;  // something in the files that was not followed, and why; empty: nothing
  };
  virtual Description description() const { return {}; }
};

// Reads tokenizer.json, or else tokenizer.model, of a checkpoint's folder. Whether BOS and EOS are added is
// said by the post_processor of tokenizer.json, as in transformers 5 (whose version 4 and llama.cpp follow
// add_bos_token and add_eos_token of tokenizer_config.json); beside a tokenizer.model, by
// tokenizer_config.json. How a text is divided is said by tokenizer.json too, as in the tokenizers package,
// transformers 4 and llama.cpp; transformers 5 puts the code of some tokenizer classes in its place, so that
// its GPT2Tokenizer does not divide SmolLM2's numbers into digits. Throws Error{kFile} or
// Error{kUnsupported}, naming the file. `config` is of the same folder.
std::unique_ptr<TextTokenizer> load_tokenizer(const std::string& model_dir, const TokenizerConfig& config);
std::unique_ptr<TextTokenizer> load_tokenizer(const std::string& model_dir);  // reads the config too

}  // namespace seer
