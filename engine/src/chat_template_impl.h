#pragma once

#include "seer/chat.h"
#include "tokenizer/chat_template.h"

namespace seer {

struct ChatTemplate::Impl {
  PromptTemplate prompt;
};

// Throws Error{kUsage} that names the member for JSON that is malformed or of the wrong type.
TemplateInput template_input(const ChatPrompt& prompt);

}  // namespace seer
