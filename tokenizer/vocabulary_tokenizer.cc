#include "tokenizer/vocabulary_tokenizer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "seer/error.h"
#include "tokenizer/characters.h"

namespace seer {

std::vector<int32_t> VocabularyTokenizer::encode(std::string_view text, bool parse_special) const {
  return encode_all(text, parse_special, nullptr);
}

std::vector<int32_t> VocabularyTokenizer::encode(const MarkedText& text,
                                                 const std::vector<int32_t>& guarded) const {
  if (text.from_messages.empty()) return encode_all(text.text, /*parse_special=*/true, nullptr);
  std::set<int32_t> reserved(guarded.begin(), guarded.end());
  for (const auto& [id, token] : added_.all())
    if (token.special) reserved.insert(id);
  const Authorship authors{text.from_messages, &reserved};
  return encode_all(text.text, /*parse_special=*/true, &authors);
}

std::vector<int32_t> VocabularyTokenizer::encode_all(std::string_view text, bool parse_special,
                                                     const Authorship* authors) const {
  using Stage = AddedTokens::Stage;
  std::vector<int32_t> ids;
  for (const AddedTokens::Part& part : added_.split(text, parse_special, Stage::kAsWritten, authors)) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const auto at = static_cast<size_t>(part.text.data() - text.data());
    bool begins = at == 0;
    const std::string changed =
        normalizes() ? normalize(part.text, /*continues=*/false, &begins) : std::string();
    const std::string_view normalized = normalizes() ? std::string_view(changed) : part.text;
    Authorship inner_authors;
    if (authors != nullptr) inner_authors = normalized_authors(part.text, at, normalized, *authors);
    for (const AddedTokens::Part& inner : added_.split(normalized, parse_special, Stage::kNormalized,
                                                       authors == nullptr ? nullptr : &inner_authors)) {
      if (inner.id >= 0) {
        ids.push_back(inner.id);
      } else {
        encode_plain(inner.text, begins && inner.text.data() == normalized.data(), &ids);
      }
    }
  }
  return ids;
}

// Returns who wrote each part of a normalised stretch of text. The stretch begins at `at` of the whole text,
// which `authors` describes.
Authorship VocabularyTokenizer::normalized_authors(std::string_view text, size_t at,
                                                   std::string_view normalized,
                                                   const Authorship& authors) const {
  Authorship result{{}, authors.reserved};
  if (std::none_of(authors.reserved->begin(), authors.reserved->end(), [&](int32_t id) {
        const AddedToken* token = added_.find(id);
        return token != nullptr && token->normalized;
      }))
    return result;  // no normalised token is reserved, so it does not matter who wrote them
  std::string pieces;
  size_t done = 0;
  const auto append = [&](size_t end, bool message) {
    if (end == done) return;
    const size_t from = pieces.size();
    const std::string_view piece = text.substr(done, end - done);
    pieces += normalizes() ? normalize(piece, /*continues=*/done > 0) : std::string(piece);
    if (message && pieces.size() > from) result.from_messages.emplace_back(from, pieces.size());
    done = end;
  };
  for (const auto& [from, to] : authors.from_messages) {
    if (to <= at || from >= at + text.size()) continue;
    append(std::max(from, at) - at, /*message=*/false);
    append(std::min(to, at + text.size()) - at, /*message=*/true);
  }
  append(text.size(), /*message=*/false);
  if (pieces != normalized)
    throw Error(ErrorKind::kUnsupported,
                "a message begins or ends with characters that the tokenizer's normalizer joins to the chat "
                "template's, so that it cannot be told who wrote its special tokens; expected a message that "
                "does not begin with combining marks or white space");
  return result;
}

std::string VocabularyTokenizer::piece(int32_t id) const {
  if (id < 0 || id >= n_vocab() || is_special(id)) return {};
  return decoder_.piece(names_[static_cast<size_t>(id)]);
}

std::string VocabularyTokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  std::vector<std::string> names;
  names.reserve(ids.size());
  for (const int32_t id : ids) {
    if (id < 0 || id >= n_vocab()) continue;
    const std::string& name = names_[static_cast<size_t>(id)];
    // As in the tokenizers package, a special token that has another spelling in normalised text is not left
    // out.
    const bool left_out = skip_special && is_special(id) && !added_.respelled(id);
    if (!name.empty() && !left_out) names.push_back(name);
  }
  return decoder_.decode(std::move(names));
}

bool VocabularyTokenizer::is_special(int32_t id) const {
  const AddedToken* token = added_.find(id);
  return token != nullptr && token->special;
}

TextTokenizer::Description VocabularyTokenizer::description() const {
  Description d;
  d.normalizer = d.splits = "none";
  d.n_added = static_cast<int64_t>(added_.all().size());
  d.n_special = std::count_if(added_.all().begin(), added_.all().end(),
                              [](const auto& entry) { return entry.second.special; });
  return d;
}

void VocabularyTokenizer::set_bound(TextBound bound, size_t longest) {
  if (added_.take_white_space_along()) bound.drop_space();
  counts_space_ = bound.counts_space();
  const auto bytes = static_cast<int64_t>(std::max({longest, added_.longest_spelling(), size_t{1}}));
  token_bytes_ = bound.holds() ? bytes * bound.factor() : 0;
  token_bytes_of_ascii_ = bound.holds() ? bytes * bound.ascii_factor() : 0;
}

int64_t VocabularyTokenizer::least_tokens(std::string_view text) const {
  if (token_bytes_ == 0) return 0;
  const size_t n = counts_space_ ? text.size() : text.size() - count_white_space(text);
  const bool ascii = token_bytes_ == token_bytes_of_ascii_ ||
                     std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
  const int64_t each = ascii ? token_bytes_of_ascii_ : token_bytes_;
  return (static_cast<int64_t>(n) + each - 1) / each;
}

int32_t VocabularyTokenizer::special_id(std::string_view text) const {
  const int32_t id = added_.id_of(text);
  return id >= 0 && is_special(id) ? id : -1;
}

int32_t VocabularyTokenizer::id_for(std::string_view content) const {
  if (const int32_t added = added_.id_of(content); added >= 0) return added;
  if (const int32_t known = vocabulary_id(content); known >= 0) return known;
  const auto& all = added_.all();
  const int64_t after = all.empty() ? 0 : int64_t{all.rbegin()->first} + 1;
  return static_cast<int32_t>(std::max(after, vocabulary_size()));
}

void VocabularyTokenizer::add_token(AddedToken token) {
  if (token.content.empty()) return;
  if (token.id >= n_vocab()) names_.resize(static_cast<size_t>(token.id) + 1);
  std::string spelling =
      token.normalized && normalizes() ? normalize(token.content, /*continues=*/false) : token.content;
  names_[static_cast<size_t>(token.id)] = decoder_.name_of_added(spelling);
  added_.add(std::move(token), std::move(spelling));
}

void VocabularyTokenizer::apply_tokens(const TokenizerConfig& config, const std::string& path) {
  const auto missing = [&](const std::string& text, const char* key) {
    if (id_for(text) < static_cast<int64_t>(names_.size())) return;
    throw Error(ErrorKind::kFile, path + ": the vocabulary has no special token '" + text + "', which " +
                                      key + " of tokenizer_config.json names");
  };
  for (AddedToken token : config.added_tokens) {
    if (config.tokens_are_legacy && added_.find(token.id) != nullptr) continue;
    if (token.id >= n_vocab() + kMaxIdGap)
      throw Error(ErrorKind::kFile, path + ": the added token '" + token.content + "' has id " +
                                        std::to_string(token.id) + ", far beyond the vocabulary of " +
                                        std::to_string(n_vocab()));
    const int32_t id = id_for(token.content);
    // The id that the file gives a new token is used if it is larger; the tokenizers package ignores it.
    const bool is_new = id >= n_vocab();
    token.id = is_new ? std::max(id, token.id) : id;
    add_token(std::move(token));
  }
  if (const auto bos = config.text_of("bos_token")) missing(*bos, "bos_token");
  if (const auto eos = config.text_of("eos_token")) missing(*eos, "eos_token");
  for (AddedToken token : config.special_tokens) {
    token.id = id_for(token.content);
    if (const AddedToken* known = added_.find(token.id)) {
      const bool named = token.named;
      token = *known;
      token.special = token.special || named;
    }
    add_token(std::move(token));
  }
  if (const auto bos = config.text_of("bos_token")) bos_id_ = added_.id_of(*bos);
  if (const auto eos = config.text_of("eos_token")) eos_id_ = added_.id_of(*eos);
}

void VocabularyTokenizer::apply_policy(const TokenizerConfig& config) {
  add_bos_ = config.add_bos_token.value_or(add_bos_) && bos_id_ >= 0;
  add_eos_ = config.add_eos_token.value_or(add_eos_) && eos_id_ >= 0;
}

}  // namespace seer
