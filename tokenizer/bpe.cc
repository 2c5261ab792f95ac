#include "tokenizer/bpe.h"

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>

#include "engine/base/stop_check.h"
#include "seer/error.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/json_file.h"
#include "tokenizer/merges.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary_tokenizer.h"

namespace seer {
namespace {

class BpeTokenizer final : public VocabularyTokenizer {
 public:
  BpeTokenizer(const Json& file, const std::string& path, const TokenizerConfig& config)
      : path_(path), normalizer_(file, path), pretokenizer_(file, path) {
    const Json& model = bpe_model(file, path);
    decoder_ = TokenDecoder(file, path);
    ignore_merges_ = json_bool(model, "ignore_merges", false, path);
    byte_fallback_ = json_bool(model, "byte_fallback", false, path);
    fuse_unk_ = json_bool(model, "fuse_unk", false, path);
    read_vocabulary(model);
    read_merges(model);
    if (const auto unk = json_string(model, "unk_token", path)) {
      unk_id_ = find(*unk);
      if (unk_id_ < 0) fail("the vocabulary lacks the unk_token '" + *unk + "'");
    }
    for (int byte = 0; byte < 256; ++byte) byte_ids_[static_cast<size_t>(byte)] = find(byte_piece(byte));
    if (pretokenizer_.spells_bytes_last() && ignore_merges_)
      for (const auto& [piece, id] : ids_)
        if (auto bytes = bytes_of_byte_level(piece)) word_ids_.emplace(std::move(*bytes), id);
    for (AddedToken& token : read_added_tokens(file, path)) add_token_of_file(std::move(token));
    read_policy(file, config);
    set_bound(bound(), longest_piece());
  }

  std::string kind() const override {
    return pretokenizer_.byte_level() ? "bpe (byte-level)" : "bpe (metaspace)";
  }
  Description description() const override {
    Description d = VocabularyTokenizer::description();
    d.normalizer = normalizer_.description();
    d.splits = pretokenizer_.description();
    d.note = note_;
    return d;
  }

 protected:
  int64_t vocabulary_size() const override { return static_cast<int64_t>(ids_.size()); }
  int32_t vocabulary_id(std::string_view name) const override { return find(name); }

  bool normalizes() const override { return !normalizer_.changes_nothing(); }
  std::string normalize(std::string_view text, bool continues, bool* begins) const override {
    return normalizer_.apply(text, continues, begins);
  }

  void encode_plain(std::string_view text, bool first, std::vector<int32_t>* ids) const override {
    const Words words = pretokenizer_.split(text, first);
    // Words repeat: nine of ten words in a novel have been seen before.
    std::unordered_map<std::string_view, std::pair<size_t, size_t>> seen;
    seen.reserve(words.list.size() / 4);
    std::vector<int32_t> word_ids;
    for (const std::string_view word : words.list) {
      StopCheck::work(4);
      const auto known = seen.find(word);
      if (known != seen.end()) {
        const auto [begin, size] = known->second;
        for (size_t i = 0; i < size; ++i) ids->push_back((*ids)[begin + i]);
        continue;
      }
      encode_word(word, &word_ids);
      seen.emplace(word, std::make_pair(ids->size(), word_ids.size()));
      ids->insert(ids->end(), word_ids.begin(), word_ids.end());
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::kFile, path_ + ": " + what);
  }

  // Returns the largest number of bytes of text in a piece. The alphabet of a byte-level vocabulary spells
  // some bytes with two.
  size_t longest_piece() const {
    size_t longest = 4;  // a character that becomes unk_token
    for (const auto& [piece, id] : ids_) {
      const auto bytes = byte_level() ? bytes_of_byte_level(piece) : std::nullopt;
      longest = std::max(longest, bytes ? bytes->size() : piece.size());
    }
    return longest;
  }
  bool byte_level() const { return pretokenizer_.byte_level(); }

  TextBound bound() const {
    TextBound bound;
    normalizer_.restrict(&bound);
    pretokenizer_.restrict(&bound);
    // In the other cases unknown characters are joined or left out.
    if (unk_id_ >= 0 && !fuse_unk_) return bound;
    bool all_bytes = byte_level() || byte_fallback_;
    for (int byte = 0; byte < 256; ++byte) {
      const bool never = byte == 0xC0 || byte == 0xC1 || byte >= 0xF5;
      const bool replaced = never && pretokenizer_.spells_bytes_last() && unk_id_ < 0;
      const int32_t id = byte_level() ? find(byte_level_piece(std::string(1, static_cast<char>(byte))))
                                      : byte_ids_[static_cast<size_t>(byte)];
      all_bytes = all_bytes && (id >= 0 || replaced);  // replaced by U+FFFD, whose bytes this loop checks too
    }
    if (!all_bytes) bound.drop();
    return bound;
  }

  void add_token_of_file(AddedToken token) {
    if (token.id != id_for(token.content))
      fail("the added token '" + token.content + "' has the id " + std::to_string(token.id) +
           ", while the tokenizers package gives it the id " + std::to_string(id_for(token.content)) +
           "; expected the ids of added tokens to be the vocabulary's, or to follow its last one");
    add_token(std::move(token));
  }

  void read_policy(const Json& file, const TokenizerConfig& config) {
    const PostProcessor post = read_post_processor(file, path_);
    for (const int32_t id : {post.bos_id, post.eos_id})
      if (id >= n_vocab()) fail("post_processor adds token " + std::to_string(id) + ", which does not exist");
    bos_id_ = post.bos_id;
    eos_id_ = post.eos_id;
    add_bos_ = bos_id_ >= 0;
    add_eos_ = eos_id_ >= 0;
    apply_tokens(config, path_);
    // BOS is the token that the post_processor adds, even if tokenizer_config.json names another one.
    if (post.bos_id >= 0) bos_id_ = post.bos_id;
    note_ = note_on(config);
  }

  // Returns a note if tokenizer_config.json asks for another policy than that of tokenizer.json's
  // post_processor.
  std::string note_on(const TokenizerConfig& config) const {
    const auto differs = [](std::optional<bool> wanted, bool added) { return wanted && *wanted != added; };
    std::string keys;
    if (differs(config.add_bos_token, add_bos_)) keys = "add_bos_token";
    if (differs(config.add_eos_token, add_eos_))
      keys += keys.empty() ? "add_eos_token" : " and add_eos_token";
    if (keys.empty()) return keys;
    return keys + " of tokenizer_config.json is not followed: as in transformers 5, the post_processor of " +
           "tokenizer.json says what is added";
  }

  int32_t find(std::string_view piece) const {
    const auto it = ids_.find(std::string(piece));
    return it == ids_.end() ? -1 : it->second;
  }
  std::string byte_piece(int byte) const {
    if (pretokenizer_.spells_bytes_last()) return byte_level_piece(std::string(1, static_cast<char>(byte)));
    constexpr const char* kHex = "0123456789ABCDEF";
    return std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">";
  }

  void read_vocabulary(const Json& model) {
    const auto vocab = model.find("vocab");
    if (vocab == model.end() || !vocab->is_object() || vocab->empty())
      fail("expected model.vocab to be an object");
    const auto limit = static_cast<int64_t>(vocab->size()) + kMaxIdGap;
    std::vector<bool> used;
    ids_.reserve(vocab->size());
    for (const auto& [piece, id] : vocab->items()) {
      if (!id.is_number_integer() || id < 0 || id >= limit)
        fail("expected the id of '" + piece + "' to be from 0 to " + std::to_string(limit - 1));
      const auto index = id.get<size_t>();
      if (index >= used.size()) used.resize(index + 1);
      if (used[index])
        fail("the id " + std::to_string(index) + " belongs to two tokens, '" + piece + "' is one");
      used[index] = true;
      ids_[piece] = static_cast<int32_t>(index);
    }
    names_.resize(used.size());
    for (const auto& [piece, id] : ids_) names_[static_cast<size_t>(id)] = piece;
  }

  // Reads merges, each of which is "a b" or ["a", "b"].
  void read_merges(const Json& model) {
    const auto merges = model.find("merges");
    if (merges == model.end() || !merges->is_array()) fail("expected model.merges to be a list");
    for (const Json& merge : *merges) {
      std::string left, right;
      if (merge.is_string()) {
        const std::string text = merge.get<std::string>();
        const size_t space = text.find(' ');
        if (space == std::string::npos) fail("expected a merge of two tokens, found '" + text + "'");
        left = text.substr(0, space);
        right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get<std::string>();
        right = merge[1].get<std::string>();
      } else {
        fail("expected a merge of two tokens");
      }
      const int32_t left_id = find(left), right_id = find(right), merged = find(left + right);
      if (left_id < 0 || right_id < 0 || merged < 0)
        fail("the merge of '" + left + "' and '" + right + "' names a token that the vocabulary lacks");
      merges_.add(left_id, right_id, merged);
    }
  }

  void encode_word(std::string_view word, std::vector<int32_t>* ids) const {
    ids->clear();
    if (ignore_merges_) {
      const int32_t id = pretokenizer_.spells_bytes_last() ? whole_word(word) : find(word);
      if (id >= 0) return ids->push_back(id);
    }
    if (word.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
      throw Error(ErrorKind::kUsage, "a text of more than 2 GiB without a break cannot be encoded");
    if (pretokenizer_.spells_bytes_last()) {
      push_bytes(word, ids);
    } else {
      push_characters(word, ids);
    }
    merges_.apply(ids);
  }

  int32_t whole_word(std::string_view word) const {
    const auto it = word_ids_.find(std::string(word));
    return it == word_ids_.end() ? -1 : it->second;
  }

  // Appends a word's bytes as ids. DeepSeek's vocabularies lack the bytes that UTF-8 never has; such a byte
  // is treated as U+FFFD.
  void push_bytes(std::string_view word, std::vector<int32_t>* ids) const {
    Unknown unknown;
    for (const char c : word) {
      const auto byte = static_cast<unsigned char>(c);
      const bool never = byte == 0xC0 || byte == 0xC1 || byte >= 0xF5;
      const bool known = !never || unk_id_ >= 0 || byte_ids_[byte] >= 0;
      for (const char b : known ? std::string_view(&c, 1) : std::string_view("\xEF\xBF\xBD"))
        push_or_unk(byte_ids_[static_cast<unsigned char>(b)], &unknown, ids);
    }
    push_unknown(&unknown, ids);
  }

  // Says whether a character outside of the vocabulary waits for the next character. It becomes unk_token, or
  // nothing if there is none. It waits, as in the tokenizers package, because fuse_unk may make both
  // characters one token. The bytes of byte fallback come out before a waiting character.
  struct Unknown {
    bool waits = false;
  };
  void push_unknown(Unknown* unknown, std::vector<int32_t>* ids) const {
    if (unknown->waits) ids->push_back(unk_id_);
    unknown->waits = false;
  }
  void push_or_unk(int32_t id, Unknown* unknown, std::vector<int32_t>* ids) const {
    if (id >= 0) {
      push_unknown(unknown, ids);
      ids->push_back(id);
    } else if (unk_id_ >= 0) {
      if (!fuse_unk_) push_unknown(unknown, ids);
      unknown->waits = true;
    }
  }

  // Appends a word's characters as ids. Characters outside the vocabulary, and bytes that are no character,
  // become the tokens of their bytes.
  void push_characters(std::string_view word, std::vector<int32_t>* ids) const {
    Unknown unknown;
    while (!word.empty()) {
      const std::string_view c = word.substr(0, utf8_step(word).size);
      word.remove_prefix(c.size());
      const int32_t id = find(c);
      bool bytes = id < 0 && byte_fallback_;
      for (const char b : c) bytes = bytes && byte_ids_[static_cast<unsigned char>(b)] >= 0;
      if (bytes) {
        for (const char b : c) ids->push_back(byte_ids_[static_cast<unsigned char>(b)]);
      } else {
        push_or_unk(id, &unknown, ids);
      }
    }
    push_unknown(&unknown, ids);
  }

  std::string path_, note_;
  Normalizer normalizer_;
  Pretokenizer pretokenizer_;
  std::unordered_map<std::string, int32_t> ids_;       // by piece, as the file spells it
  std::unordered_map<std::string, int32_t> word_ids_;  // by bytes, for ignore_merges
  std::array<int32_t, 256> byte_ids_{};
  Merges merges_;
  int32_t unk_id_ = -1;
  bool ignore_merges_ = false, byte_fallback_ = false, fuse_unk_ = false;
};

}  // namespace

std::unique_ptr<TextTokenizer> make_bpe(const Json& file, const std::string& path,
                                        const TokenizerConfig& config) {
  return std::make_unique<BpeTokenizer>(file, path, config);
}

}  // namespace seer
