// What is said in a chat, as messages and as the token ids that a session holds of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "seer/tokenizer.h"

namespace seer::cli {

// The ids of a turn are those of the whole conversation as the template renders it. As long as that text
// begins with the text that the session holds, its ids are kept as they were computed, in the tokens that the
// model cut an answer into, and only what follows is tokenised. A template may also change what was said (it
// drops thoughts, or trims answers): then the conversation is tokenised as a whole, as transformers would.
class Conversation {
 public:
  // `kwargs`: a JSON object with further variables of the template; empty: none. Both references outlive it.
  Conversation(const Tokenizer& tokenizer, std::shared_ptr<const ChatTemplate> chat_template,
               std::string kwargs);

  // Starts anew with this system message; empty: none.
  void start(const std::string& system);
  // Ids of everything up to where the answer to `text` begins. Errors as Tokenizer::encode_chat.
  const std::vector<int32_t>& ids_with(const std::string& text);
  // After the answer to the text that ids_with() was last called for. `held`: the ids the session now holds.
  // Absent: they are more than was said (a stop text was cut off), and the conversation is tokenised as a
  // whole next time.
  void add(const std::string& answer, std::optional<std::vector<int32_t>> held);
  // Takes the last question back, with its answer, and returns it; empty if there is none.
  std::optional<std::string> take_back();

  const std::vector<ChatMessage>& messages() const { return messages_; }
  std::vector<int32_t> end_of_turn_ids() const { return tokenizer_.end_of_turn_ids(template_.get()); }
  const std::string& format() const { return template_->name(); }

 private:
  // What a session holds after an exchange.
  struct Held {
    std::vector<int32_t> ids;
    std::string text;  // what the ids stand for in a rendered conversation
  };

  std::vector<int32_t> find_ids() const;
  std::optional<std::vector<int32_t>> continued(const Held& held) const;

  const Tokenizer& tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::string kwargs_;
  std::vector<ChatMessage> messages_;
  // The question under way, its prompt, and what that is as text and ids.
  std::string question_, rendered_;
  ChatPrompt prompt_;
  std::vector<int32_t> ids_;
  std::vector<std::optional<Held>> held_;  // after each exchange; absent: to be tokenised as a whole
};

// Is `part` how `whole` begins?
bool begins_with(const std::vector<int32_t>& whole, const std::vector<int32_t>& part);

}  // namespace seer::cli
