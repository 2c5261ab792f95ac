// A chat answer's text as reasoning, content and calls of functions.
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
  // `tools`: names of the functions that were offered; empty: calls are not looked for.
  AnswerParser(ToolForm form, const std::vector<std::string>& tools, Thinking thinking);

  // What is certain by now. `text` may be cut anywhere, even within a character.
  std::vector<AnswerDelta> push(std::string_view text);
  std::vector<AnswerDelta> finish();

 private:
  std::vector<AnswerDelta> take(const std::string& reasoning, const std::string& content, bool ended);

  ReasoningSplitter splitter_;
  std::unique_ptr<ToolParser> tools_;
  DeltaList deltas_;
};

}  // namespace seer::serve
