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

// What a template is given. The JSON texts have the form of OpenAI's chat API, which is also that of
// transformers. Plain values: copy them freely.
struct SEER_API ChatPrompt {
  std::string messages;  // an array of objects: {"role": "user", "content": "..."}, tool_calls and so on
  std::string tools;     // an array of objects; empty: none
  std::string kwargs;    // an object, further variables: {"enable_thinking": false}; empty: none
  // True: the text ends where the assistant's answer begins.
  bool add_generation_prompt = true;
  // True: the last message is the assistant's and unfinished; the text ends with its content, and
  // add_generation_prompt does not count.
  bool continue_final_message = false;
  // What strftime_now shows of a template that writes the date, in the local time zone: seconds since 1970
  // UTC, up to the end of the year 9999; -1: the clock. Error{kUsage} for others.
  int64_t now = -1;

  ChatPrompt() = default;
  // Messages of plain text.
  ChatPrompt(const std::vector<ChatMessage>& messages);
};

// A chat template in Jinja, interpreted as transformers interprets it. Immutable, safe from many threads.
class SEER_API ChatTemplate {
 public:
  // Of a model's folder: chat_template.jinja with additional_chat_templates/, else chat_template of
  // tokenizer_config.json (a text, or a list of named ones), else chat_template.json. Of several, "default"
  // is used, and "tool_use", if there is one, for prompts with tools. Null if the folder has none. Throws
  // Error{kFile} for files that are malformed and Error{kUnsupported} for a template that cannot be
  // interpreted; either names file, line and construct.
  static std::shared_ptr<const ChatTemplate> of_model(const std::string& model_dir);
  // A file's path, or one that comes with the program: "llama2", "llama3", "chatml", "mistral", or "none",
  // which joins the messages as plain text. Throws Error{kUsage} for neither, else as of_model.
  static std::shared_ptr<const ChatTemplate> load(const std::string& name_or_file);
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  const std::string& name() const;    // the file's path, or the name, for people
  const std::string& source() const;  // the Jinja text that is used for prompts without tools
  // The same followed by the text that is used for prompts with tools, if that is another one.
  const std::string& all_sources() const;
  bool takes_tools() const;  // false: `tools` would change nothing

  // The prompt as text. `tokens`: bos_token, eos_token and others by name. Throws as Tokenizer::render_chat.
  std::string render(const ChatPrompt& prompt, const std::map<std::string, std::string>& tokens) const;

  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  const Impl& impl() const { return *impl_; }  // for the tokenizer

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace seer
