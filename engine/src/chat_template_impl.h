#pragma once

#include "seer/chat.h"
#include "tokenizer/chat_template.h"

namespace seer {

struct ChatTemplate::Impl {
  PromptTemplate prompt;
};

// Of texts as read_chat_templates() returns them; null for none. Throws as ChatTemplate::of_model.
std::shared_ptr<const ChatTemplate> template_of_texts(const std::map<std::string, TemplateText>& texts);

// Throws Error{kUsage} that names the member for JSON that is malformed or of the wrong type.
TemplateInput template_input(const ChatPrompt& prompt);

}  // namespace seer
