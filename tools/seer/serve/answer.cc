#include "tools/seer/serve/answer.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace seer::serve {

struct Answer::Inbox {
  struct Choice {
    std::vector<TokenPiece> tokens;  // not taken yet
    bool news = false;               // there is something that wait() waits for
    bool ended = false;
    int64_t n_tokens = 0;
    ChoiceTimes times;
  };

  std::mutex mutex;
  std::condition_variable wake;
  std::vector<Choice> choices;
};

Answer::Answer(Engine* engine, std::vector<GenerateRequest> requests, bool at_once)
    : inbox_(std::make_shared<Inbox>()), results_(requests.size()) {
  inbox_->choices.resize(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerateRequest& request = requests[i];
    request.on_token = [inbox = inbox_, i, at_once](const TokenEvent& event) {
      {
        const std::lock_guard lock(inbox->mutex);
        Inbox::Choice& choice = inbox->choices[i];
        choice.times.last_token = Clock::now();
        if (choice.n_tokens++ == 0) choice.times.first_token = choice.times.last_token;
        TokenPiece& token = choice.tokens.emplace_back(TokenPiece{event.id, std::string(event.text), {}, {}});
        if (event.logprobs != nullptr) token.logprobs = *event.logprobs;
        if (event.prompt_logprobs != nullptr) token.prompt_logprobs = *event.prompt_logprobs;
        if (!at_once && choice.n_tokens > 1) return true;
        choice.news = true;
      }
      inbox->wake.notify_one();
      return true;
    };
    request.on_end = [inbox = inbox_, i] {
      {
        const std::lock_guard lock(inbox->mutex);
        inbox->choices[i].news = inbox->choices[i].ended = true;
      }
      inbox->wake.notify_one();
    };
    generations_.push_back(engine->submit(std::move(request)));
  }
}

Answer::~Answer() = default;

void Answer::cancel() noexcept {
  for (const auto& generation : generations_) generation->cancel();
}

ChoiceTimes Answer::times(size_t choice) const {
  const std::lock_guard lock(inbox_->mutex);
  return inbox_->choices[choice].times;
}

int64_t Answer::n_tokens() const {
  const std::lock_guard lock(inbox_->mutex);
  int64_t n = 0;
  for (const Inbox::Choice& choice : inbox_->choices) n += choice.n_tokens;
  return n;
}

std::vector<News> Answer::wait(std::chrono::milliseconds timeout) {
  std::vector<News> news;
  std::vector<bool> ended(size());
  {
    std::unique_lock lock(inbox_->mutex);
    inbox_->wake.wait_for(lock, timeout, [&] {
      return std::any_of(inbox_->choices.begin(), inbox_->choices.end(),
                         [](const auto& choice) { return choice.news; });
    });
    for (size_t i = 0; i < size(); ++i) {
      Inbox::Choice& choice = inbox_->choices[i];
      if (!choice.news) continue;
      choice.news = false;
      news.push_back({i, std::exchange(choice.tokens, {}), nullptr, choice.times});
      ended[i] = choice.ended;
    }
  }
  for (News& n : news) {
    if (!ended[n.choice]) continue;
    results_[n.choice] = std::make_unique<GenerateResult>(generations_[n.choice]->wait());
    n.result = results_[n.choice].get();
    ++n_ended_;
  }
  return news;
}

}  // namespace seer::serve
