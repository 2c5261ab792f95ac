#include "tokenizer/bpe.h"

#include <array>
#include <limits>
#include <unordered_map>

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
  BpeTokenizer(const nlohmann::json& file, const std::string& path, const TokenizerConfig& config)
      : path_(path), normalizer_(file, path), pretokenizer_(file, path) {
    const nlohmann::json& model = bpe_model(file, path);
    ignore_merges_ = json_bool(model, "ignore_merges", false, path);
    byte_fallback_ = json_bool(model, "byte_fallback", false, path);
    fuse_unk_ = json_bool(model, "fuse_unk", false, path);
    read_vocabulary(model);
    read_merges(model);
    if (const auto unk = json_string(model, "unk_token", path)) unk_id_ = find(*unk);
    for (int byte = 0; byte < 256; ++byte) byte_ids_[static_cast<size_t>(byte)] = find(byte_piece(byte));
    decode_vocabulary();
    for (const AddedToken& token : read_added_tokens(file, path)) add_token(token, path);
    const PostProcessor post = read_post_processor(file, path);
    bos_id_ = post.bos_id;
    eos_id_ = post.eos_id;
    add_bos_ = bos_id_ >= 0;
    add_eos_ = eos_id_ >= 0;
    for (const int32_t id : {bos_id_, eos_id_})
      if (id >= n_vocab()) fail("post_processor adds token " + std::to_string(id) + ", which does not exist");
    strips_first_space_ = decoder_strips_space(file, path);
    apply_tokens(config, path);
    if (post.bos_id >= 0) bos_id_ = post.bos_id;  // the token that is added, whatever else is called BOS
    note_ = note_on(config);
    // Last: the keys are views of bytes_, which added tokens may have made longer.
    if (pretokenizer_.byte_level() && ignore_merges_)
      for (const auto& [piece, id] : ids_) word_ids_.emplace(bytes_[static_cast<size_t>(id)], id);
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
  bool normalizes() const override { return !normalizer_.changes_nothing(); }
  std::string normalize(std::string_view text, bool continues) const override {
    return normalizer_.apply(text, continues);
  }

  void encode_plain(std::string_view text, bool first, std::vector<int32_t>* ids) const override {
    const std::string prepared = pretokenizer_.prefix(text, first);
    std::vector<std::string_view> words;
    pretokenizer_.split(prepared, &words);
    // Words repeat: in a novel nine of ten have been seen before.
    std::unordered_map<std::string_view, std::pair<size_t, size_t>> seen;
    std::vector<int32_t> word_ids;
    for (const std::string_view word : words) {
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

  // Where tokenizer_config.json asks for another policy than tokenizer.json's post_processor has.
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
    if (pretokenizer_.byte_level()) return byte_level_piece(std::string(1, static_cast<char>(byte)));
    constexpr const char* kHex = "0123456789ABCDEF";
    return std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">";
  }

  void read_vocabulary(const nlohmann::json& model) {
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
    bytes_.resize(used.size());
  }

  // "a b" or ["a", "b"].
  void read_merges(const nlohmann::json& model) {
    const auto merges = model.find("merges");
    if (merges == model.end() || !merges->is_array()) fail("expected model.merges to be a list");
    for (const nlohmann::json& merge : *merges) {
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

  void decode_vocabulary() {
    for (const auto& [piece, id] : ids_) {
      std::string& bytes = bytes_[static_cast<size_t>(id)];
      if (pretokenizer_.byte_level()) {
        bytes = bytes_of_byte_level(piece);
      } else {
        const int byte = byte_fallback_ ? byte_of_piece(piece) : -1;
        bytes = byte < 0 ? with_spaces(piece) : std::string(1, static_cast<char>(byte));
      }
    }
  }

  void encode_word(std::string_view word, std::vector<int32_t>* ids) const {
    ids->clear();
    if (ignore_merges_) {
      const int32_t id = pretokenizer_.byte_level() ? whole_word(word) : find(word);
      if (id >= 0) return ids->push_back(id);
    }
    if (word.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max()))
      throw Error(ErrorKind::kUsage, "a text of more than 2 GiB without a break cannot be encoded");
    if (pretokenizer_.byte_level()) {
      push_bytes(word, ids);
    } else {
      push_characters(word, ids);
    }
    merges_.apply(ids);
    for (const int32_t id : *ids)
      if (id < 0)
        fail("the text has characters that the vocabulary has neither a token nor an unk_token for");
  }

  int32_t whole_word(std::string_view word) const {
    const auto it = word_ids_.find(word);
    return it == word_ids_.end() ? -1 : it->second;
  }

  void push_byte(char c, std::vector<int32_t>* ids) const {
    const int32_t id = byte_ids_[static_cast<unsigned char>(c)];
    push_or_unk(id, ids);
  }

  // DeepSeek's vocabularies lack the bytes that UTF-8 never has; such a byte is as U+FFFD to them.
  void push_bytes(std::string_view word, std::vector<int32_t>* ids) const {
    for (const char c : word) {
      const auto byte = static_cast<unsigned char>(c);
      const bool never = byte == 0xC0 || byte == 0xC1 || byte >= 0xF5;
      const bool known = !never || unk_id_ >= 0 || byte_ids_[byte] >= 0;
      for (const char b : known ? std::string_view(&c, 1) : std::string_view("\xEF\xBF\xBD"))
        push_byte(b, ids);
    }
  }

  void push_or_unk(int32_t id, std::vector<int32_t>* ids) const {
    if (id < 0) id = unk_id_;
    if (id == unk_id_ && fuse_unk_ && !ids->empty() && ids->back() == unk_id_) return;
    ids->push_back(id);
  }

  // Characters outside the vocabulary, and bytes that are none, become their bytes' tokens.
  void push_characters(std::string_view word, std::vector<int32_t>* ids) const {
    while (!word.empty()) {
      const std::string_view c = word.substr(0, utf8_step(word).size);
      word.remove_prefix(c.size());
      const int32_t id = find(c);
      bool bytes = id < 0 && byte_fallback_;
      for (const char b : c) bytes = bytes && byte_ids_[static_cast<unsigned char>(b)] >= 0;
      if (bytes) {
        for (const char b : c) push_byte(b, ids);
      } else {
        push_or_unk(id, ids);
      }
    }
  }

  std::string path_, note_;
  Normalizer normalizer_;
  Pretokenizer pretokenizer_;
  std::unordered_map<std::string, int32_t> ids_;            // by piece, as the file spells it
  std::unordered_map<std::string_view, int32_t> word_ids_;  // by bytes, for ignore_merges; views of bytes_
  std::array<int32_t, 256> byte_ids_{};
  Merges merges_;
  int32_t unk_id_ = -1;
  bool ignore_merges_ = false, byte_fallback_ = false, fuse_unk_ = false;
};

}  // namespace

std::unique_ptr<TextTokenizer> load_bpe(const std::string& path, const TokenizerConfig& config) {
  const auto file = read_json_file(path);
  if (!file) throw Error(ErrorKind::kFile, path + ": there is no such file");
  return std::make_unique<BpeTokenizer>(*file, path, config);
}

}  // namespace seer
