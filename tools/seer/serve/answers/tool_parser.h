// Reads calls of functions from the text of an answer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/seer/serve/answers/answer_delta.h"

namespace seer::serve {

enum class ToolForm {
  kNone,     // text stays text
  kHermes,   // <tool_call>{"name": "f", "arguments": {...}}</tool_call>: Hermes, Qwen2.5, Qwen3
  kLlama3,   // {"name": "f", "parameters": {...}} and nothing else, maybe after <|python_tag|>: Llama 3.x
  kMistral,  // [TOOL_CALLS][{"name": "f", "arguments": {...}}], or [TOOL_CALLS]f[ARGS]{...}
  kUnknown,  // a form that is not read here
};

// Returns the name by which --tool-call-parser knows the form.
const char* tool_form_name(ToolForm form);
// Returns the form that a chat template asks for, judged by the text it writes around earlier calls.
ToolForm tool_form_of(std::string_view chat_template);
// Returns the texts that are marks in this form. If a mark is a special token, it has no text of its own, and
// the parser must be given its name instead.
std::vector<std::string> marks_of(ToolForm form);

// Finds calls in an answer, which may come in pieces, cut anywhere.
class ToolParser {
 public:
  virtual ~ToolParser() = default;
  virtual void push(std::string_view text, DeltaList* out) = 0;
  virtual void finish(DeltaList* out) = 0;  // call it when the answer has ended
};

// `is_tool` returns whether a function of this name was offered. Llama's calls have no marks, so only this
// tells them from other JSON.
std::unique_ptr<ToolParser> make_tool_parser(ToolForm form, std::function<bool(const std::string&)> is_tool);

}  // namespace seer::serve
