// What one choice's tokens mean to a client: text, reasoning, calls and log-probabilities.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/seer/serve/answer.h"
#include "tools/seer/serve/answers/answer_format.h"
#include "tools/seer/serve/answers/answer_parser.h"
#include "tools/seer/serve/api_request.h"
#include "tools/seer/serve/logprobs.h"

namespace seer::serve {

// The same for all choices of a request.
struct ReadingPlan {
  bool chat = false;
  bool parallel_tool_calls = true;  // else calls after the first one are left out
  ToolForm form = ToolForm::kNone;
  std::vector<std::string> tools;  // names of the functions that were offered
  Thinking thinking = Thinking::kNone;
  bool logprobs = false;
  bool show_special = false;             // special tokens are shown by name
  std::vector<int32_t> end_ids;          // but for those that end the answer
  std::map<int32_t, std::string> marks;  // tokens without a text that mean something in this form
};

// `format` counts for chats only; `prompt_end`: how the prompt's text ends.
ReadingPlan reading_plan(const ApiRequest& request, const AnswerFormat& format, const Engine& engine,
                         const std::string& prompt_end);

// What a choice has brought since it was last asked.
struct ChoiceNews {
  std::vector<AnswerDelta> deltas;  // of completions: content alone
  OrderedJson logprobs;             // as the route shows them; null: none
};

class ChoiceReader {
 public:
  ChoiceReader(const ReadingPlan& plan, const Tokenizer& tokenizer);

  // Before any token: a prompt that is shown before the answer. `logprobs`: of its tokens but the first, if
  // they were asked for.
  void echo(const std::string& text, const std::vector<int32_t>& ids,
            const std::vector<PositionLogprobs>* logprobs);
  void push(const TokenPiece& token);
  void finish();

  ChoiceNews take();

 private:
  std::string mark_of(int32_t id) const;
  std::string text_of(const TokenPiece& token);
  void keep(std::vector<AnswerDelta> deltas);

  const ReadingPlan& plan_;
  const Tokenizer& tokenizer_;
  AnswerParser parser_;
  CompletionLogprobs completion_logprobs_;
  ChoiceNews news_;
  // The engine may hold text back that could become a stop string, and give it out after a mark that the
  // model wrote later. Marks wait for their place: after so many bytes of text, each counted from the one
  // before.
  std::deque<std::pair<size_t, std::string>> waiting_marks_;
  size_t held_ = 0;  // bytes of tokens whose text has not come yet
};

}  // namespace seer::serve
