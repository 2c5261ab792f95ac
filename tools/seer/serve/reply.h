// The text of one request's answer: whole, or as server-sent events while tokens come.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tools/seer/serve/answer.h"
#include "tools/seer/serve/answers/answer_format.h"
#include "tools/seer/serve/api_request.h"
#include "tools/seer/serve/choice_reader.h"
#include "tools/seer/serve/prompts.h"
#include "tools/seer/serve/responses.h"
#include "tools/seer/serve/timings.h"

namespace seer::serve {

class Reply {
 public:
  // `engine` must outlive this.
  Reply(const ApiRequest& request, std::vector<EncodedPrompt> prompts, const AnswerFormat& format,
        const Engine& engine, const std::string& model_name, TimedRequest timed);

  // For a streamed answer. Each returns the events for news, or an empty text if there are none.
  std::string opening();
  std::string events(const std::vector<News>& news);
  std::string closing(const Usage& usage);

  // For a whole answer. collect() takes the news; whole() returns the text once every choice has ended.
  void collect(const std::vector<News>& news);
  std::string whole(const Usage& usage);

 private:
  struct ChoiceState {
    ChoiceState(const ReadingPlan& plan, const Tokenizer& tokenizer) : reader(plan, tokenizer) {}
    ChoiceReader reader;
    bool echoed = false;
    size_t n_calls = 0;  // complete calls
    FinishReason finish = FinishReason::kLength;
    OrderedJson timings;  // null until the choice has ended, and if none were asked for
  };

  void read(const News& news);
  void echo(size_t choice, const std::vector<PositionLogprobs>* logprobs);

  const bool echo_;
  const size_t n_;  // choices for each prompt
  const std::vector<EncodedPrompt> prompts_;
  const ReadingPlan plan_;
  const TimedRequest timed_;
  const ResponseWriter writer_;
  std::vector<std::unique_ptr<ChoiceState>> choices_;
};

}  // namespace seer::serve
