#include "tools/seer/conversation.h"

#include <algorithm>

namespace seer::cli {

bool begins_with(const std::vector<int32_t>& whole, const std::vector<int32_t>& part) {
  return whole.size() >= part.size() && std::equal(part.begin(), part.end(), whole.begin());
}

std::vector<int32_t> encode_messages(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                     const std::string& format) {
  if (format != kPlainFormat) return tokenizer.encode_chat(messages, format);
  std::string text;
  for (const ChatMessage& message : messages)
    text += (text.empty() || message.role == "assistant" ? "" : "\n") + message.content;
  return tokenizer.encode(text);
}

Conversation::Conversation(const Tokenizer& tokenizer, const std::string& format,
                           std::vector<int32_t> eos_ids)
    : tokenizer_(tokenizer), format_(format), eos_ids_(std::move(eos_ids)) {
  if (format_.empty()) format_ = tokenizer_.chat_template();
  if (format_.empty())
    throw Error(ErrorKind::kUsage,
                "this model has no chat template that is known here; name the one it was trained with by "
                "--chat-template llama2, llama3, chatml or mistral, or say none to go on from plain text");
  if (!is_plain()) render({{"user", "a"}});  // an unknown name, or special tokens that are not there
}

void Conversation::start(const std::string& system) {
  messages_.clear();
  held_.clear();
  if (!system.empty()) messages_.push_back({"system", system});
}

std::vector<int32_t> Conversation::ids_with(const std::string& text) const {
  std::vector<ChatMessage> messages = messages_;
  messages.push_back({"user", text});
  std::vector<int32_t> whole = render(messages);
  if (held_.empty() || held_.back().empty() || begins_with(whole, held_.back())) return whole;
  std::vector<int32_t> ids = held_.back();
  const std::vector<int32_t> part = new_part(text);
  auto from = part.begin();
  if (ends_answer(ids.back())) {
    // The answer's end is in both.
    const auto end = std::find(part.begin(), part.end(), ids.back());
    if (end == part.end()) {
      ids.pop_back();
    } else {
      from = end + 1;
    }
  }
  ids.insert(ids.end(), from, part.end());
  return ids;
}

void Conversation::add(const std::string& text, const std::string& answer,
                       std::optional<std::vector<int32_t>> held) {
  messages_.push_back({"user", text});
  messages_.push_back({"assistant", answer});
  held_.push_back(held ? std::move(*held) : std::vector<int32_t>());
}

std::optional<std::string> Conversation::take_back() {
  if (held_.empty()) return std::nullopt;
  held_.pop_back();
  messages_.pop_back();
  const std::string text = messages_.back().content;
  messages_.pop_back();
  return text;
}

std::vector<int32_t> Conversation::render(const std::vector<ChatMessage>& messages) const {
  return encode_messages(tokenizer_, messages, format_);
}

// The ids after an answer, whatever it was: the common end of two conversations that differ in the answer
// only.
std::vector<int32_t> Conversation::new_part(const std::string& text) const {
  const auto with = [&](const char* answer) {
    return render({{"user", "a"}, {"assistant", answer}, {"user", text}});
  };
  const std::vector<int32_t> one = with("a");
  const std::vector<int32_t> other = with("1");
  const auto differ = std::mismatch(one.rbegin(), one.rend(), other.rbegin(), other.rend());
  return {differ.first.base(), one.end()};
}

bool Conversation::ends_answer(int32_t id) const {
  return std::find(eos_ids_.begin(), eos_ids_.end(), id) != eos_ids_.end();
}

}  // namespace seer::cli
