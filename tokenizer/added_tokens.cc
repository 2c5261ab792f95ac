#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "tokenizer/characters.h"

namespace seer {

bool Authorship::by_messages(size_t begin, size_t end) const {
  const auto range = std::upper_bound(from_messages.begin(), from_messages.end(), begin,
                                      [](size_t at, const auto& r) { return at < r.second; });
  return range != from_messages.end() && range->first < end;
}

bool Authorship::by_template(size_t begin, size_t end) const {
  auto range = std::upper_bound(from_messages.begin(), from_messages.end(), begin,
                                [](size_t at, const auto& r) { return at < r.second; });
  for (; range != from_messages.end() && range->first <= begin; ++range) begin = range->second;
  return begin < end;
}

void AddedTokens::add(AddedToken token, std::string spelling) {
  if (token.content.empty()) return;
  if (const AddedToken* old = find(token.id)) {
    if (const auto same = ids_.find(old->content); same != ids_.end() && same->second == token.id)
      ids_.erase(same);
    for (Entries* entries : {&as_written_, &normalized_})
      for (std::vector<Entry>& bucket : *entries)
        std::erase_if(bucket, [&](const Entry& entry) { return entry.id == token.id; });
    spellings_.erase(token.id);
  }
  if (token.normalized) spellings_[token.id] = spelling;
  if (!spelling.empty()) {
    Entries& entries = token.normalized ? normalized_ : as_written_;
    std::vector<Entry>& bucket = entries[static_cast<unsigned char>(spelling[0])];
    const auto at = std::find_if(bucket.begin(), bucket.end(),
                                 [&](const Entry& entry) { return entry.spelling.size() < spelling.size(); });
    bucket.insert(at, {std::move(spelling), token.id});
  }
  ids_.emplace(token.content, token.id);
  tokens_[token.id] = std::move(token);
}

void AddedTokens::add(AddedToken token) {
  std::string spelling = token.content;
  add(std::move(token), std::move(spelling));
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = tokens_.find(id);
  return it == tokens_.end() ? nullptr : &it->second;
}

int32_t AddedTokens::id_of(std::string_view content) const {
  const auto it = ids_.find(content);
  return it == ids_.end() ? -1 : it->second;
}

bool AddedTokens::respelled(int32_t id) const {
  const auto it = spellings_.find(id);
  return it != spellings_.end() && it->second != tokens_.at(id).content;
}

bool AddedTokens::allowed(std::string_view text, size_t begin, size_t end, int32_t id, Stage stage,
                          const Authorship& authors) const {
  if (!authors.by_messages(begin, end)) return true;
  if (authors.reserved->contains(id)) return false;
  if (!authors.by_template(begin, end)) return true;
  const auto covers = [&](const std::string& reserved) {
    for (size_t at = begin; at < end; ++at)
      if (text.substr(at).starts_with(reserved) && !authors.by_messages(at, at + reserved.size()))
        return true;
    return false;
  };
  return std::none_of(authors.reserved->begin(), authors.reserved->end(), [&](int32_t other) {
    const AddedToken* token = find(other);
    if (stage == Stage::kAsWritten) return token != nullptr && covers(token->content);
    return token != nullptr && token->normalized && covers(spellings_.at(other));
  });
}

const AddedTokens::Entry* AddedTokens::match(std::string_view text, size_t at, Stage stage,
                                             const Authorship* authors) const {
  const Entries& entries = stage == Stage::kNormalized ? normalized_ : as_written_;
  const std::string_view rest = text.substr(at);
  for (const Entry& entry : entries[static_cast<unsigned char>(rest[0])])
    if (rest.starts_with(entry.spelling) &&
        (authors == nullptr || allowed(text, at, at + entry.spelling.size(), entry.id, stage, *authors)))
      return &entry;
  return nullptr;
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool parse_special, Stage stage,
                                                  const Authorship* authors) const {
  std::vector<Part> parts;
  size_t done =
      0;  // the end of the last part; of a token in white space that another took along, before that
  const Entries& entries = stage == Stage::kNormalized ? normalized_ : as_written_;
  for (size_t at = 0; at < text.size();) {
    if (entries[static_cast<unsigned char>(text[at])].empty()) {
      ++at;
      continue;
    }
    const Entry* entry = match(text, at, stage, authors);
    if (entry == nullptr) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_.at(entry->id);
    size_t begin = at, end = at + entry->spelling.size();
    at = end;  // the next match begins after this one, whether this one counts or not
    if (token.special && !parse_special) continue;
    if (token.single_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end))))
      continue;
    if (token.lstrip) begin = std::max(begin - trailing_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    if (begin > done) parts.push_back({-1, text.substr(done, begin - done)});
    // White space that the token before took along can hold all of this one.
    if (begin < end) parts.push_back({entry->id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) parts.push_back({-1, text.substr(done)});
  return parts;
}

}  // namespace seer
