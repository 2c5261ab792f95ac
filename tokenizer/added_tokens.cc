#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

namespace seer {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Bytes beyond ASCII count as letters.
bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  if (token.content.empty()) return;
  const auto bucket = [&](const AddedToken& t) -> std::vector<int32_t>& {
    return by_first_byte_[static_cast<unsigned char>(t.content[0])];
  };
  if (const AddedToken* old = find(token.id)) std::erase(bucket(*old), token.id);
  std::vector<int32_t>& ids = bucket(token);
  const size_t size = token.content.size();
  const auto at =
      std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return tokens_[id].content.size() < size; });
  ids.insert(at, token.id);
  tokens_[token.id] = std::move(token);
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = tokens_.find(id);
  return it == tokens_.end() ? nullptr : &it->second;
}

int32_t AddedTokens::id_of(std::string_view content) const {
  if (content.empty()) return -1;
  for (const int32_t id : by_first_byte_[static_cast<unsigned char>(content[0])])
    if (tokens_.at(id).content == content) return id;
  return -1;
}

const AddedToken* AddedTokens::match(std::string_view text, size_t at, bool parse_special) const {
  for (const int32_t id : by_first_byte_[static_cast<unsigned char>(text[at])]) {
    const AddedToken& token = tokens_.at(id);
    if ((token.special && !parse_special) || text.compare(at, token.content.size(), token.content) != 0)
      continue;
    const size_t end = at + token.content.size();
    if (token.single_word && ((at > 0 && is_word(text[at - 1])) || (end < text.size() && is_word(text[end]))))
      continue;
    return &token;
  }
  return nullptr;
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool parse_special) const {
  std::vector<Part> parts;
  size_t begin = 0;  // of the plain text not yet given out
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = match(text, at, parse_special);
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t plain_end = at, end = at + token->content.size();
    while (token->lstrip && plain_end > begin && is_space(text[plain_end - 1])) --plain_end;
    while (token->rstrip && end < text.size() && is_space(text[end])) ++end;
    if (plain_end > begin) parts.push_back({-1, text.substr(begin, plain_end - begin)});
    parts.push_back({token->id, text.substr(at, token->content.size())});
    begin = at = end;
  }
  if (begin < text.size()) parts.push_back({-1, text.substr(begin)});
  return parts;
}

}  // namespace seer
