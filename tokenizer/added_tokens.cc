#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "engine/base/stop_check.h"
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

void AddedTokens::Entries::add(const std::string& spelling, int32_t id) {
  ids[spelling].push_back(id);
  ++n_beginning[static_cast<unsigned char>(spelling[0])];
}

void AddedTokens::Entries::remove(const std::string& spelling, int32_t id) {
  const auto entry = ids.find(spelling);
  if (entry == ids.end() || std::erase(entry->second, id) == 0) return;
  --n_beginning[static_cast<unsigned char>(spelling[0])];
  if (entry->second.empty()) ids.erase(entry);
}

void AddedTokens::add(AddedToken token, std::string spelling) {
  if (token.content.empty()) return;
  if (const AddedToken* old = find(token.id)) {
    if (const auto same = ids_.find(old->content); same != ids_.end() && same->second == token.id)
      ids_.erase(same);
    if (const auto respelled = spellings_.find(token.id); respelled != spellings_.end()) {
      normalized_.remove(respelled->second, token.id);
      spellings_.erase(respelled);
    } else {
      as_written_.remove(old->content, token.id);
    }
  }
  if (!spelling.empty()) (token.normalized ? normalized_ : as_written_).add(spelling, token.id);
  if (token.normalized) spellings_[token.id] = std::move(spelling);
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

namespace {

size_t common_prefix(std::string_view a, std::string_view b) {
  const size_t n = std::min(a.size(), b.size());
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first - a.begin());
}

// Calls `visit` with each entry of a sorted map whose name `text` begins with, the longest first, until it
// returns true. The greatest name that is not beyond the text is either the longest such name, or has a
// common beginning with the text that is no shorter than that name.
template <class Map, class Visit>
void visit_prefixes(const Map& map, std::string_view text, const Visit& visit) {
  while (!text.empty()) {
    auto entry = map.upper_bound(text);
    if (entry == map.begin()) return;
    --entry;
    const size_t shared = common_prefix(entry->first, text);
    const bool found = shared == entry->first.size();
    if (found && visit(*entry)) return;
    text = text.substr(0, found ? shared - 1 : shared);
  }
}

}  // namespace

AddedTokens::Match AddedTokens::match(std::string_view text, size_t at, Stage stage,
                                      const Authorship* authors) const {
  Match match;
  visit_prefixes((stage == Stage::kNormalized ? normalized_ : as_written_).ids, text.substr(at),
                 [&](const auto& entry) {
                   for (const int32_t id : entry.second) {
                     const size_t size = entry.first.size();
                     if (authors != nullptr && !allowed(text, at, at + size, id, stage, *authors)) continue;
                     match = {id, size};
                     return true;
                   }
                   return false;
                 });
  return match;
}

std::vector<std::pair<int32_t, std::string>> AddedTokens::found_in(std::string_view text) const {
  std::set<std::string_view> contents;
  for (size_t at = 0; at < text.size(); ++at)
    visit_prefixes(ids_, text.substr(at), [&](const auto& entry) {
      contents.insert(entry.first);
      return false;
    });
  std::vector<std::pair<int32_t, std::string>> found;
  for (const auto& [id, token] : tokens_)  // several tokens may have the same content
    if (contents.contains(token.content)) found.emplace_back(id, token.content);
  return found;
}

size_t AddedTokens::longest_spelling() const {
  size_t longest = 0;
  for (const Entries* entries : {&as_written_, &normalized_})
    for (const auto& [spelling, ids] : entries->ids) longest = std::max(longest, spelling.size());
  return longest;
}

bool AddedTokens::take_white_space_along() const {
  return std::any_of(tokens_.begin(), tokens_.end(),
                     [](const auto& entry) { return entry.second.lstrip || entry.second.rstrip; });
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool parse_special, Stage stage,
                                                  const Authorship* authors) const {
  std::vector<Part> parts;
  // The end of the last part. If a token lies in white space that the token before took along, this moves
  // back to the token's own end.
  size_t done = 0;
  const Entries& entries = stage == Stage::kNormalized ? normalized_ : as_written_;
  for (size_t at = 0; at < text.size();) {
    if (entries.n_beginning[static_cast<unsigned char>(text[at])] == 0) {
      ++at;
      continue;
    }
    StopCheck::work();
    const Match found = match(text, at, stage, authors);
    if (found.id < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_.at(found.id);
    size_t begin = at, end = at + found.size;
    at = end;  // the next match begins after this one, whether or not this one counts
    if (token.special && !parse_special) continue;
    if (token.single_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end))))
      continue;
    if (token.lstrip) begin = std::max(begin - trailing_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    if (begin > done) parts.push_back({-1, text.substr(done, begin - done)});
    // White space that the token before took along may be all of this token.
    if (begin < end) parts.push_back({found.id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) parts.push_back({-1, text.substr(done)});
  return parts;
}

}  // namespace seer
