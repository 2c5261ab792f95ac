#include "tools/seer/serve/answers/answer_format.h"

#include "tools/seer/serve/answers/reasoning.h"

namespace seer::serve {

AnswerFormat answer_format(std::string_view chat_template, std::string_view tool_parser,
                           std::string_view reasoning_parser) {
  AnswerFormat format;
  format.thinks = reasoning_parser == "auto" ? template_thinks(chat_template) : reasoning_parser == "think";
  format.tools = tool_form_of(chat_template);
  for (const ToolForm form : {ToolForm::kNone, ToolForm::kHermes, ToolForm::kLlama3, ToolForm::kMistral})
    if (tool_parser == tool_form_name(form)) format.tools = form;
  return format;
}

}  // namespace seer::serve
