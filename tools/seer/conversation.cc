#include "tools/seer/conversation.h"

#include <algorithm>

#include "engine/base/json_reader.h"
#include "tools/seer/format.h"

namespace seer::cli {

OrderedJson to_json(const std::vector<ChatMessage>& messages) {
  OrderedJson json = OrderedJson::array();
  for (const ChatMessage& message : messages)
    json.push_back({{"role", message.role}, {"content", message.content}});
  return json;
}

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

std::string Conversation::saved(const std::vector<int32_t>& ids) const {
  OrderedJson json = {{"messages", to_json(messages_)}, {"held", nullptr}};
  if (!held_.empty() && held_.back() && held_.back()->ids == ids) json["held"] = held_.back()->text;
  return to_text(json);
}

void Conversation::restore(const std::string& saved, const std::vector<int32_t>& ids,
                           const std::string& name) {
  const auto refuse = [&](const std::string& found) {
    throw Error(ErrorKind::kFile, name + ": expected a conversation that seer chat saved, found " + found +
                                      ". A session that seer generate saved is one for its --session.");
  };
  if (saved.empty()) refuse("a session without one");
  std::vector<ChatMessage> messages;
  std::optional<Held> last;
  try {
    const Json json = read_json(saved);
    for (const Json& message : json.at("messages"))
      messages.push_back({message.at("role").get<std::string>(), message.at("content").get<std::string>()});
    if (!json.at("held").is_null()) last.emplace(Held{ids, json.at("held").get<std::string>()});
  } catch (const std::exception& error) {
    refuse(std::string("other contents (") + error.what() + ")");
  }
  const size_t first = !messages.empty() && messages.front().role == "system" ? 1 : 0;
  for (size_t i = first; i < messages.size(); ++i)
    if (messages[i].role != ((i - first) % 2 == 0 ? "user" : "assistant"))
      refuse("a message of '" + messages[i].role + "' out of turn");
  if ((messages.size() - first) % 2 != 0) refuse("a question without its answer");
  messages_ = std::move(messages);
  held_.assign((messages_.size() - first) / 2, std::nullopt);
  if (!held_.empty()) held_.back() = std::move(last);
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
