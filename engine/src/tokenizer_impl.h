#pragma once

#include <exception>
#include <map>
#include <memory>
#include <string>

#include "seer/tokenizer.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace seer {

struct Tokenizer::Impl {
  std::unique_ptr<TextTokenizer> tokenizer;
  std::shared_ptr<const ChatTemplate> chat_template;             // null: the files have none
  std::string template_text;                                     // the files' Jinja texts, one after another
  std::exception_ptr chat_template_error;                        // why the files' template cannot be used
  const PromptTemplate& chosen(const ChatTemplate* with) const;  // `with`, or the files' own
  MarkedText rendered(const ChatPrompt& prompt, const PromptTemplate& chosen) const;

  std::map<std::string, std::string> token_variables;  // bos_token and others, for templates
};

}  // namespace seer
