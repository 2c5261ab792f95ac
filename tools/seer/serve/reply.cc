#include "tools/seer/serve/reply.h"

#include <algorithm>
#include <utility>

namespace seer::serve {

Reply::Reply(const ApiRequest& request, std::vector<EncodedPrompt> prompts, const AnswerFormat& format,
             const Engine& engine, const std::string& model_name, TimedRequest timed)
    : echo_(request.echo),
      n_(static_cast<size_t>(request.n)),
      prompts_(std::move(prompts)),
      plan_(reading_plan(request, format, engine, end_of(prompts_.front().ids, engine.tokenizer()))),
      timed_(std::move(timed)),
      writer_(request.chat, model_name, request.include_usage, plan_.form == ToolForm::kMistral) {
  for (size_t i = 0; i < n_ * prompts_.size(); ++i)
    choices_.push_back(std::make_unique<ChoiceState>(plan_, engine.tokenizer()));
}

void Reply::echo(size_t choice, const std::vector<PositionLogprobs>* logprobs) {
  ChoiceState& state = *choices_[choice];
  if (!echo_ || std::exchange(state.echoed, true)) return;
  const EncodedPrompt& prompt = prompts_[choice / n_];
  state.reader.echo(prompt.text, prompt.ids, logprobs);
}

void Reply::read(const News& news) {
  ChoiceState& state = *choices_[news.choice];
  for (const TokenPiece& token : news.tokens) {
    echo(news.choice, token.prompt_logprobs ? &*token.prompt_logprobs : nullptr);
    state.reader.push(token);
  }
  if (news.result == nullptr) return;
  // The prompt of a choice without tokens.
  echo(news.choice, plan_.logprobs ? &news.result->prompt_logprobs : nullptr);
  state.reader.finish();
  state.finish = news.result->finish;
  state.timings = timings_json(timed_, news.result->stats, news.times);
}

std::string Reply::opening() {
  std::string events;
  for (size_t i = 0; i < choices_.size(); ++i) {
    events += writer_.first(i);
    if (!echo_ || plan_.logprobs) continue;
    echo(i, nullptr);
    events += writer_.pieces(i, choices_[i]->reader.take().deltas);
  }
  return events;
}

std::string Reply::events(const std::vector<News>& news) {
  std::string events;
  for (const News& one : news) {
    read(one);
    ChoiceState& state = *choices_[one.choice];
    const ChoiceNews fresh = state.reader.take();
    for (const AnswerDelta& delta : fresh.deltas) state.n_calls += delta.kind == AnswerDelta::Kind::kCallEnd;
    events += writer_.pieces(one.choice, fresh.deltas, fresh.logprobs);
    if (one.result != nullptr)
      events += writer_.last(one.choice, state.finish, state.n_calls > 0, state.timings);
  }
  return events;
}

std::string Reply::closing(const Usage& usage) { return writer_.usage(usage) + ResponseWriter::end(); }

void Reply::collect(const std::vector<News>& news) {
  for (const News& one : news) read(one);
}

std::string Reply::whole(const Usage& usage) {
  std::vector<Choice> choices;
  for (const auto& state : choices_) {
    ChoiceNews everything = state->reader.take();
    Choice& choice = choices.emplace_back();
    for (const AnswerDelta& delta : everything.deltas) choice.answer.add(delta);
    choice.finish = state->finish;
    choice.timings = state->timings;
    choice.logprobs = std::move(everything.logprobs);
  }
  return writer_.whole(choices, usage);
}

}  // namespace seer::serve
