#pragma once

#include "seer/chat.h"
#include "tokenizer/chat_template.h"

namespace seer {

struct ChatTemplate::Impl {
  PromptTemplate prompt;
};

// Makes a template from texts as read_chat_templates() returns them; null if there are none. Throws as
// ChatTemplate::of_model() does.
std::shared_ptr<const ChatTemplate> template_of_texts(const std::map<std::string, TemplateText>& texts);

// Parses the JSON texts of a prompt. Throws Error{kUsage} that names the member if its JSON is malformed or
// of the wrong type.
TemplateInput template_input(const ChatPrompt& prompt);

}  // namespace seer
