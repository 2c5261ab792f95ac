// Turns the tokens of one choice into the client's view: text, reasoning, calls and log-probabilities.
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

// The settings that all choices of a request share.
struct ReadingPlan {
  bool chat = false;
  bool parallel_tool_calls = true;  // if false, calls after the first one are left out
  ToolForm form = ToolForm::kNone;
  std::vector<std::string> tools;  // names of the functions that were offered
  Thinking thinking = Thinking::kNone;
  bool logprobs = false;
  bool show_special = false;             // special tokens are shown by name
  std::vector<int32_t> end_ids;          // their names are not shown if they end the answer
  std::map<int32_t, std::string> marks;  // tokens without a text that are marks in this form
};

// `format` is used for chats only. `prompt_end` is the end of the prompt's text.
ReadingPlan reading_plan(const ApiRequest& request, const AnswerFormat& format, const Engine& engine,
                         const std::string& prompt_end);

// The output of a choice since the last call of take().
struct ChoiceNews {
  std::vector<AnswerDelta> deltas;  // for completions: content alone
  OrderedJson logprobs;             // as the route shows them; null if there are none
};

class ChoiceReader {
 public:
  ChoiceReader(const ReadingPlan& plan, const Tokenizer& tokenizer);

  // Call it before any token, for a prompt that is shown before the answer. `logprobs` are those of its
  // tokens but the first, if they were asked for.
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
  // The engine may hold back text that could become a stop string, and give it out after a mark that the
  // model wrote later. So marks wait for their place: each waits for a number of bytes of text, counted from
  // the mark before.
  std::deque<std::pair<size_t, std::string>> waiting_marks_;
  size_t held_ = 0;  // bytes of the tokens whose text has not come yet
};

}  // namespace seer::serve
