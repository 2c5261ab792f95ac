#include "tools/seer/serve/answers/answer_parser.h"

#include <algorithm>

namespace seer::serve {

AnswerParser::AnswerParser(ToolForm form, const std::vector<std::string>& tools, Thinking thinking)
    : splitter_(thinking),
      tools_(make_tool_parser(tools.empty() ? ToolForm::kNone : form, [tools](const std::string& name) {
        return std::find(tools.begin(), tools.end(), name) != tools.end();
      })) {}

std::vector<AnswerDelta> AnswerParser::push(std::string_view text) {
  std::string reasoning, content;
  splitter_.push(text, &reasoning, &content);
  return pieces_of(reasoning, content, false);
}

std::vector<AnswerDelta> AnswerParser::finish() {
  std::string reasoning, content;
  splitter_.finish(&reasoning, &content);
  return pieces_of(reasoning, content, true);
}

std::vector<AnswerDelta> AnswerParser::pieces_of(const std::string& reasoning, const std::string& content,
                                                 bool ended) {
  deltas_.reasoning(reasoning);
  tools_->push(content, &deltas_);
  if (ended) {
    tools_->finish(&deltas_);
    deltas_.finish();
  }
  return deltas_.take();
}

}  // namespace seer::serve
