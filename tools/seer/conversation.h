// What is said in a chat, as messages and as the token ids that a session holds of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "seer/tokenizer.h"

namespace seer::cli {

// A format that is no template: the texts follow one another, a line break before each but the first and the
// assistant's.
inline constexpr const char* kPlainFormat = "none";

// The prompt up to where the next answer begins. `format`: kPlainFormat, a template's name, or empty for the
// model's own. Errors as Tokenizer::encode_chat.
std::vector<int32_t> encode_messages(const Tokenizer& tokenizer, const std::vector<ChatMessage>& messages,
                                     const std::string& format);

// Ids of a turn are the rendering of the whole conversation by the template, as long as that begins with the
// ids the session holds. It need not: a template trims answers, and the model may have cut an answer into
// other tokens than the tokenizer does. Then the new part of the rendering is appended to the ids as they
// were computed: what closes the answer, the next question, and what opens the next answer.
class Conversation {
 public:
  // `format` as in encode_messages(). `eos_ids` end an answer. Throws Error{kUsage} for a name that is none
  // of these, or an empty one where the model's own template is not known.
  Conversation(const Tokenizer& tokenizer, const std::string& format, std::vector<int32_t> eos_ids);

  // Starts anew with this system message; empty: none. "none" puts it before the first text.
  void start(const std::string& system);
  // Ids of everything up to where the answer to `text` begins. Errors as Tokenizer::encode_chat.
  std::vector<int32_t> ids_with(const std::string& text) const;
  // After the answer. `held`: the ids the session now holds, absent where they are more than was said (a stop
  // text): the conversation is rendered as a whole next time.
  void add(const std::string& text, const std::string& answer, std::optional<std::vector<int32_t>> held);
  // Takes the last question back, with its answer, and returns it; empty where there is none.
  std::optional<std::string> take_back();

  const std::vector<ChatMessage>& messages() const { return messages_; }
  const std::string& format() const { return format_; }
  bool is_plain() const { return format_ == kPlainFormat; }

 private:
  std::vector<int32_t> render(const std::vector<ChatMessage>& messages) const;
  std::vector<int32_t> new_part(const std::string& text) const;
  bool ends_answer(int32_t id) const;

  const Tokenizer& tokenizer_;
  std::string format_;
  std::vector<int32_t> eos_ids_;
  std::vector<ChatMessage> messages_;
  std::vector<std::vector<int32_t>> held_;  // after each exchange; empty: to be rendered as a whole
};

// Is `part` how `whole` begins?
bool begins_with(const std::vector<int32_t>& whole, const std::vector<int32_t>& part);

}  // namespace seer::cli
