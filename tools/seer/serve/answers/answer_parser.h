// Divides the text of a chat answer into reasoning, content and calls of functions.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tools/seer/serve/answers/answer_delta.h"
#include "tools/seer/serve/answers/reasoning.h"
#include "tools/seer/serve/answers/tool_parser.h"

namespace seer::serve {

class AnswerParser {
 public:
  // `tools` are the names of the functions that were offered. If it is empty, calls are not looked for.
  AnswerParser(ToolForm form, const std::vector<std::string>& tools, Thinking thinking);

  // Returns the pieces that are certain so far. `text` may be cut anywhere, even within a character.
  std::vector<AnswerDelta> push(std::string_view text);
  std::vector<AnswerDelta> finish();

 private:
  std::vector<AnswerDelta> pieces_of(const std::string& reasoning, const std::string& content, bool ended);

  ReasoningSplitter splitter_;
  std::unique_ptr<ToolParser> tools_;
  DeltaList deltas_;
};

}  // namespace seer::serve
