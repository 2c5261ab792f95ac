#include "tokenizer/vocabulary_tokenizer.h"

#include <algorithm>
#include <charconv>

#include "seer/error.h"
#include "tokenizer/utf8_stream.h"

namespace seer {

int byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int byte = 0;
  const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
  return error == std::errc() && end == piece.data() + 5 ? byte : -1;
}

std::string with_spaces(std::string_view piece) {
  constexpr std::string_view kSpace = "\xE2\x96\x81";
  std::string text;
  while (!piece.empty()) {
    const bool space = piece.starts_with(kSpace);
    text += space ? ' ' : piece.front();
    piece.remove_prefix(space ? kSpace.size() : 1);
  }
  return text;
}

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
    const std::string changed = normalizes() ? normalize(part.text, /*continues=*/false) : std::string();
    const std::string_view normalized = normalizes() ? std::string_view(changed) : part.text;
    Authorship inner_authors;
    if (authors != nullptr) inner_authors = normalized_authors(part.text, at, normalized, *authors);
    for (const AddedTokens::Part& inner : added_.split(normalized, parse_special, Stage::kNormalized,
                                                       authors == nullptr ? nullptr : &inner_authors)) {
      if (inner.id >= 0) {
        ids.push_back(inner.id);
      } else {
        encode_plain(inner.text, at == 0 && inner.text.data() == normalized.data(), &ids);
      }
    }
  }
  return ids;
}

// Who wrote what of a normalised stretch of text, `text` at `at` of the whole, in whose terms `authors` is.
Authorship VocabularyTokenizer::normalized_authors(std::string_view text, size_t at,
                                                   std::string_view normalized,
                                                   const Authorship& authors) const {
  Authorship result{{}, authors.reserved};
  if (std::none_of(authors.reserved->begin(), authors.reserved->end(), [&](int32_t id) {
        const AddedToken* token = added_.find(id);
        return token != nullptr && token->normalized;
      }))
    return result;  // every normalised token may be written by anyone
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
  if (id < 0 || id >= n_vocab())
    throw Error(ErrorKind::kUsage, "token id " + std::to_string(id) + " is out of range: expected 0 to " +
                                       std::to_string(n_vocab() - 1));
  return is_special(id) ? std::string() : bytes_[static_cast<size_t>(id)];
}

std::string VocabularyTokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  Utf8Stream stream;
  std::string text;
  bool at_start = strips_first_space_;
  for (const int32_t id : ids) {
    std::string bytes = piece(id);
    if (is_special(id)) {
      if (!skip_special) text += stream.finish() + added_.find(id)->content;
      continue;
    }
    if (at_start && bytes.starts_with(' ')) bytes.erase(0, 1);
    at_start = false;
    text += stream.push(bytes);
  }
  return text + stream.finish();
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

std::vector<std::pair<int32_t, std::string>> VocabularyTokenizer::added_tokens() const {
  std::vector<std::pair<int32_t, std::string>> tokens;
  for (const auto& [id, token] : added_.all()) tokens.emplace_back(id, token.content);
  return tokens;
}

int32_t VocabularyTokenizer::special_id(std::string_view text) const {
  const int32_t id = added_.id_of(text);
  return id >= 0 && is_special(id) ? id : -1;
}

void VocabularyTokenizer::add_token(AddedToken token, const std::string& path) {
  if (token.id < 0 || token.id >= n_vocab() + kMaxIdGap)
    throw Error(ErrorKind::kFile, path + ": the added token '" + token.content + "' has id " +
                                      std::to_string(token.id) + ", far beyond the vocabulary of " +
                                      std::to_string(n_vocab()));
  if (token.id >= n_vocab()) bytes_.resize(static_cast<size_t>(token.id) + 1);
  bytes_[static_cast<size_t>(token.id)] = token.content;
  std::string spelling =
      token.normalized && normalizes() ? normalize(token.content, /*continues=*/false) : token.content;
  added_.add(std::move(token), std::move(spelling));
}

void VocabularyTokenizer::apply_tokens(const TokenizerConfig& config, const std::string& path) {
  for (const AddedToken& token : config.bare_tokens)
    if (added_.find(token.id) == nullptr) add_token(token, path);
  for (const AddedToken& token : config.added_tokens) add_token(token, path);
  const auto id_of = [&](const std::string& text, const char* key) {
    const int32_t id = added_.id_of(text);
    if (id < 0)
      throw Error(ErrorKind::kFile, path + ": the vocabulary has no special token '" + text + "', which " +
                                        key + " of tokenizer_config.json names");
    return id;
  };
  if (config.bos_token) bos_id_ = id_of(*config.bos_token, "bos_token");
  if (config.eos_token) eos_id_ = id_of(*config.eos_token, "eos_token");
}

void VocabularyTokenizer::apply_policy(const TokenizerConfig& config) {
  add_bos_ = config.add_bos_token.value_or(add_bos_) && bos_id_ >= 0;
  add_eos_ = config.add_eos_token.value_or(add_eos_) && eos_id_ >= 0;
}

}  // namespace seer
