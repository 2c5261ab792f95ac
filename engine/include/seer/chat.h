// Chat templates: how a conversation becomes the prompt that a model was trained on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "seer/error.h"

namespace seer {

struct SEER_API ChatMessage {
  std::string role;  // "system", "user" or "assistant"
  std::string content;
};

// The input of a chat template. The JSON texts have the form of OpenAI's chat API, which transformers uses
// too. A plain value: copy it freely.
struct SEER_API ChatPrompt {
  std::string messages;  // an array of objects: {"role": "user", "content": "..."}, tool_calls and so on
  std::string tools;     // an array of objects; empty: none
  std::string
      kwargs;  // an object, further variables of the template: {"enable_thinking": false}; empty: none
  // If true, the text ends at the place at which the assistant's answer begins.
  bool add_generation_prompt = true;
  // True: the last message is an unfinished one of the assistant. The text ends with its content, and
  // add_generation_prompt is ignored.
  bool continue_final_message = false;
  // The time that strftime_now shows, in the local time zone, if the template writes the date: seconds since
  // 1970 UTC, up to the end of the year 9999; -1: the clock's time. Error{kUsage} for any other value.
  int64_t now = -1;

  ChatPrompt() = default;
  // Messages of plain text.
  ChatPrompt(const std::vector<ChatMessage>& messages);
};

// A chat template in Jinja, interpreted as transformers interprets it. Immutable, safe from many threads.
class SEER_API ChatTemplate {
 public:
  // Reads the template of a model's folder; null if it has none. It is chat_template.jinja with
  // additional_chat_templates/, else chat_template of tokenizer_config.json (a text, or a list of named
  // texts), else chat_template.json. If there are several, "tool_use" is used for prompts with tools, if
  // there is one, and "default" otherwise. Throws Error{kFile} for files that are malformed and
  // Error{kUnsupported} for a template that cannot be interpreted; either names file, line and construct.
  static std::shared_ptr<const ChatTemplate> of_model(const std::string& model_dir);
  // Returns the template in a file, or one that comes with the program: "llama2", "llama3", "chatml",
  // "mistral", or "none", which joins the messages as plain text. Throws Error{kUsage} if there is neither,
  // and otherwise as of_model() does.
  static std::shared_ptr<const ChatTemplate> load(const std::string& name_or_file);
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  const std::string& name() const;    // the file's path, or the name, for people
  const std::string& source() const;  // the Jinja text that is used for prompts without tools
  // Returns source(), followed by the text for prompts with tools if that is a different one.
  const std::string& all_sources() const;
  bool takes_tools() const;  // false: `tools` would change nothing

  // Returns the prompt as text. `tokens` has the texts of bos_token, eos_token and so on, by name. Throws as
  // Tokenizer::render_chat does.
  std::string render(const ChatPrompt& prompt, const std::map<std::string, std::string>& tokens) const;

  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  const Impl& impl() const { return *impl_; }  // for the tokenizer

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
