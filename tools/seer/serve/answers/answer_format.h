// Facts about a model's answers that its chat template tells.
#pragma once

#include <string_view>

#include "tools/seer/serve/answers/tool_parser.h"

namespace seer::serve {

struct AnswerFormat {
  ToolForm tools = ToolForm::kNone;  // how calls are written
  bool thinks = false;               // answers begin with <think>...</think>
  bool takes_tools = false;          // the template shows tools to the model
};

// Fills every member but takes_tools. `tool_parser`: "hermes", "llama3", "mistral", "none", or "auto" to
// follow the template. `reasoning_parser`: "think", "none" or "auto".
AnswerFormat answer_format(std::string_view chat_template, std::string_view tool_parser = "auto",
                           std::string_view reasoning_parser = "auto");

}  // namespace seer::serve
