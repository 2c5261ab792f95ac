// The common part of all tokenizers: ids with their names, the decoding of these, added tokens, and the
// BOS/EOS policy. The kinds differ in how they encode plain text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/decoder.h"
#include "tokenizer/text_bound.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace seer {

class VocabularyTokenizer : public TextTokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text, bool parse_special) const final;
  std::vector<int32_t> encode(const MarkedText& text, const std::vector<int32_t>& guarded) const final;
  std::string piece(int32_t id) const final;
  std::string decode(const std::vector<int32_t>& ids, bool skip_special) const final;
  int64_t n_vocab() const final { return static_cast<int64_t>(names_.size()); }
  int32_t bos_id() const final { return bos_id_; }
  int32_t eos_id() const final { return eos_id_; }
  bool add_bos() const final { return add_bos_; }
  bool add_eos() const final { return add_eos_; }
  bool is_special(int32_t id) const final;
  int32_t special_id(std::string_view text) const final;
  int32_t added_id(std::string_view text) const final { return added_.id_of(text); }
  std::vector<std::pair<int32_t, std::string>> added_tokens_in(std::string_view text) const final {
    return added_.found_in(text);
  }
  int64_t least_tokens(std::string_view text) const final;
  bool strips_first_space() const final { return decoder_.strips_first_space(); }
  Description description() const override;

 protected:
  // normalize() changes a stretch of text before normalised added tokens are looked for in it; normalizes()
  // returns whether it changes anything.
  virtual bool normalizes() const { return false; }
  // `continues` says that some of the same stretch comes before the text. If `begins` is not null, *begins
  // becomes false if the beginning of the text is dropped.
  virtual std::string normalize(std::string_view text, bool /*continues*/, bool* /*begins*/ = nullptr) const {
    return std::string(text);
  }
  // Appends the ids of a stretch of normalised text between added tokens. `first` says that nothing comes
  // before it.
  virtual void encode_plain(std::string_view text, bool first, std::vector<int32_t>* ids) const = 0;

  // These describe the vocabulary in its file, before any token is added.
  virtual int64_t vocabulary_size() const = 0;                     // the number of its tokens
  virtual int32_t vocabulary_id(std::string_view name) const = 0;  // -1 if it has no such token

  // Returns the id that the tokenizers package gives an added token, whatever a file says: the id of the
  // vocabulary or of an equal added token, else the next free one.
  int32_t id_for(std::string_view content) const;
  // Adds `token`, or replaces the token that was added under its id.
  void add_token(AddedToken token);
  // Adds the tokens of `config`, as transformers 5 does. Throws Error{kFile} naming `path` for a BOS or EOS
  // that does not exist.
  void apply_tokens(const TokenizerConfig& config, const std::string& path);
  // Sets how much text the tokenizer's steps may remove. Call it after all tokens have been added, since it
  // considers them. `longest` is how many bytes of text a token of the vocabulary may stand for.
  void set_bound(TextBound bound, size_t longest);
  // Sets whether BOS and EOS are added: as add_bos_token and add_eos_token of `config` say, or unchanged if
  // it has none.
  void apply_policy(const TokenizerConfig& config);

 private:
  std::vector<int32_t> encode_all(std::string_view text, bool parse_special, const Authorship* authors) const;
  Authorship normalized_authors(std::string_view text, size_t at, std::string_view normalized,
                                const Authorship& authors) const;

 protected:
  std::vector<std::string> names_;  // [n_vocab], as files spell them; empty if no token has the id
  TokenDecoder decoder_;
  AddedTokens added_;
  int32_t bos_id_ = -1, eos_id_ = -1;
  bool add_bos_ = false, add_eos_ = false;

 private:
  // How many bytes of a text one token stands for at most; 0: there is no bound.
  int64_t token_bytes_ = 0, token_bytes_of_ascii_ = 0;
  bool counts_space_ = true;  // if false, white space does not count among these bytes
};

}  // namespace seer
