// What every tokenizer shares: ids with the bytes they stand for, added tokens, and the BOS/EOS policy. The
// kinds differ in how they encode plain text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_config.h"

namespace seer {

// The byte that a piece such as "<0x0A>" stands for; -1 for any other piece.
int byte_of_piece(std::string_view piece);
// A piece with SentencePiece's visible space, U+2581, as the space it stands for.
std::string with_spaces(std::string_view piece);

class VocabularyTokenizer : public TextTokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text, bool parse_special) const final;
  std::vector<int32_t> encode(const MarkedText& text, const std::vector<int32_t>& guarded) const final;
  std::string piece(int32_t id) const final;
  std::string decode(const std::vector<int32_t>& ids, bool skip_special) const final;
  int64_t n_vocab() const final { return static_cast<int64_t>(bytes_.size()); }
  int32_t bos_id() const final { return bos_id_; }
  int32_t eos_id() const final { return eos_id_; }
  bool add_bos() const final { return add_bos_; }
  bool add_eos() const final { return add_eos_; }
  bool is_special(int32_t id) const final;
  int32_t special_id(std::string_view text) const final;
  int32_t added_id(std::string_view text) const final { return added_.id_of(text); }
  std::vector<std::pair<int32_t, std::string>> added_tokens() const final;
  bool strips_first_space() const final { return strips_first_space_; }
  Description description() const override;

 protected:
  // What happens to a stretch of text before normalised added tokens are looked for in it.
  virtual bool normalizes() const { return false; }
  // `continues`: something of the same stretch comes before the text.
  virtual std::string normalize(std::string_view text, bool /*continues*/) const { return std::string(text); }
  // Appends the ids of a stretch of normalised text between added tokens; `first`: nothing comes before it.
  virtual void encode_plain(std::string_view text, bool first, std::vector<int32_t>* ids) const = 0;

  // Checks ids against the vocabulary's size, so that memory stays in proportion. Throws Error{kFile} naming
  // path.
  void add_token(AddedToken token, const std::string& path);
  // The tokens of `config`. Throws Error{kFile} for a BOS that does not exist.
  void apply_tokens(const TokenizerConfig& config, const std::string& path);
  // Whether they are added: add_bos_token and add_eos_token of `config` where it has them, else what is set.
  void apply_policy(const TokenizerConfig& config);

 private:
  std::vector<int32_t> encode_all(std::string_view text, bool parse_special, const Authorship* authors) const;
  Authorship normalized_authors(std::string_view text, size_t at, std::string_view normalized,
                                const Authorship& authors) const;

 protected:
  std::vector<std::string> bytes_;  // [n_vocab]: what each id stands for in the middle of a text
  AddedTokens added_;
  int32_t bos_id_ = -1, eos_id_ = -1;
  bool add_bos_ = false, add_eos_ = false;
  bool strips_first_space_ = false;
};

}  // namespace seer
