// A chat's conversation, as messages and as the token ids that a session holds of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "seer/tokenizer.h"

namespace seer::cli {

// The ids of a turn are those of the whole conversation as the template renders it. As long as that text
// begins with the text that the session holds, the held ids are kept as they were computed, with the answer
// cut into the tokens that the model chose, and only the rest is tokenized. A template may also change
// earlier messages (it drops thoughts, or trims answers). Then the whole conversation is tokenized again, as
// transformers would.
class Conversation {
 public:
  // `kwargs` is a JSON object with further variables of the template, or empty. The two references must
  // outlive this object.
  Conversation(const Tokenizer& tokenizer, std::shared_ptr<const ChatTemplate> chat_template,
               std::string kwargs);

  // Starts a new conversation with this system message; an empty text means no system message.
  void start(const std::string& system);
  // Returns the ids of everything up to the place at which the answer to `text` begins. Throws as
  // Tokenizer::encode_chat does.
  const std::vector<int32_t>& ids_with(const std::string& text);
  // Adds the answer to the text that ids_with() was last called for. `held` are the ids that the session
  // holds now. Pass nothing if they are more than the answer shows (a stop text was cut off); then the whole
  // conversation is tokenized next time.
  void add(const std::string& answer, std::optional<std::vector<int32_t>> held);
  // Removes the last question and its answer, and returns the question. Returns nothing if there is none.
  std::optional<std::string> take_back();

  // Returns the conversation as JSON, to be kept with a session that holds `ids`.
  std::string saved(const std::vector<int32_t>& ids) const;
  // Goes on with the conversation that saved() returned, with a session that holds `ids` again. Throws
  // Error{kFile} that begins with `name` for any other text, and leaves the conversation as it was.
  void restore(const std::string& saved, const std::vector<int32_t>& ids, const std::string& name);

  const std::vector<ChatMessage>& messages() const { return messages_; }
  std::vector<int32_t> end_of_turn_ids() const { return tokenizer_.end_of_turn_ids(template_.get()); }
  const std::string& format() const { return template_->name(); }

 private:
  // The state of the session after an exchange.
  struct Held {
    std::vector<int32_t> ids;
    std::string text;  // the text that the ids stand for in a rendered conversation
  };

  std::vector<int32_t> find_ids() const;
  std::optional<std::vector<int32_t>> continued(const Held& held) const;

  const Tokenizer& tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::string kwargs_;
  std::vector<ChatMessage> messages_;
  // The question being answered; the conversation up to its answer as text, as a prompt and as ids.
  std::string question_, rendered_;
  ChatPrompt prompt_;
  std::vector<int32_t> ids_;
  std::vector<std::optional<Held>> held_;  // after each exchange; absent: must be tokenized as a whole
};

// Returns the messages as in the OpenAI API.
OrderedJson to_json(const std::vector<ChatMessage>& messages);

// Returns whether `whole` begins with `part`.
bool begins_with(const std::vector<int32_t>& whole, const std::vector<int32_t>& part);

}  // namespace seer::cli
