#include "tools/seer/conversation.h"

#include <algorithm>

namespace seer::cli {

bool begins_with(const std::vector<int32_t>& whole, const std::vector<int32_t>& part) {
  return whole.size() >= part.size() && std::equal(part.begin(), part.end(), whole.begin());
}

Conversation::Conversation(const Tokenizer& tokenizer, std::shared_ptr<const ChatTemplate> chat_template,
                           std::string kwargs)
    : tokenizer_(tokenizer), template_(std::move(chat_template)), kwargs_(std::move(kwargs)) {}

void Conversation::start(const std::string& system) {
  messages_.clear();
  held_.clear();
  if (!system.empty()) messages_.push_back({"system", system});
}

const std::vector<int32_t>& Conversation::ids_with(const std::string& text) {
  std::vector<ChatMessage> messages = messages_;
  messages.push_back({"user", text});
  question_ = text;
  prompt_ = ChatPrompt(messages);
  prompt_.kwargs = kwargs_;
  rendered_ = tokenizer_.render_chat(prompt_, template_.get());
  ids_ = find_ids();
  return ids_;
}

std::vector<int32_t> Conversation::find_ids() const {
  if (!held_.empty() && held_.back()) {
    Held held = *held_.back();
    if (auto ids = continued(held)) return *ids;
    // The model may have ended its answer with a token that the template does not write.
    held.text.resize(held.text.size() - tokenizer_.token_bytes(held.ids.back()).size());
    held.ids.pop_back();
    if (auto ids = continued(held)) return *ids;
  }
  return tokenizer_.encode_chat(prompt_, template_.get());
}

// Returns nothing if the conversation does not begin with the held text, or if no token ends there.
std::optional<std::vector<int32_t>> Conversation::continued(const Held& held) const {
  if (!rendered_.starts_with(held.text)) return std::nullopt;
  const auto rest = tokenizer_.encode_chat_from(held.text.size(), prompt_, template_.get());
  if (!rest) return std::nullopt;
  std::vector<int32_t> ids = held.ids;
  ids.insert(ids.end(), rest->begin(), rest->end());
  return ids;
}

void Conversation::add(const std::string& answer, std::optional<std::vector<int32_t>> held) {
  std::optional<Held> next;
  if (held && begins_with(*held, ids_)) {
    next.emplace(Held{std::move(*held), rendered_});
    for (size_t i = ids_.size(); i < next->ids.size(); ++i)
      next->text += tokenizer_.token_bytes(next->ids[i]);
  }
  messages_.push_back({"user", question_});
  messages_.push_back({"assistant", answer});
  held_.push_back(std::move(next));
}

std::optional<std::string> Conversation::take_back() {
  if (held_.empty()) return std::nullopt;
  held_.pop_back();
  messages_.pop_back();
  const std::string text = messages_.back().content;
  messages_.pop_back();
  return text;
}

}  // namespace seer::cli
