#include "tools/seer/serve/answer.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace seer::serve {
namespace {

using std::chrono::milliseconds;

// A generation does not say that it has ended: where its last token does not tell either (a stop string, a
// failure), its end is looked for, soon after its last sign of life and then less and less often.
constexpr milliseconds kFirstPause(1), kLongestPause(50);

}  // namespace

struct Answer::Inbox {
  struct Choice {
    std::string text;
    bool news = false;  // something somebody waits for
    bool last = false;  // its last token has come
    int64_t n_tokens = 0;
    ChoiceTimes times;
  };

  std::mutex mutex;
  std::condition_variable wake;
  std::vector<Choice> choices;
};

Answer::Answer(Engine* engine, std::vector<GenerateRequest> requests, bool want_text)
    : inbox_(std::make_shared<Inbox>()), results_(requests.size()) {
  inbox_->choices.resize(requests.size());
  const std::vector<int32_t> eos_ids = engine->model().eos_ids;
  for (size_t i = 0; i < requests.size(); ++i) {
    GenerateRequest& request = requests[i];
    const int64_t room = engine->info().ctx_size - static_cast<int64_t>(request.prompt.size());
    const int64_t most = request.max_new_tokens < 0 ? room : std::min(request.max_new_tokens, room);
    // Tokens without a stop string among them say by themselves which is the last.
    const bool signal_each = want_text || !request.stop.empty();
    request.on_token = [inbox = inbox_, i, most, signal_each, eos_ids](const TokenEvent& event) {
      const bool eos = std::find(eos_ids.begin(), eos_ids.end(), event.id) != eos_ids.end();
      {
        const std::lock_guard lock(inbox->mutex);
        Inbox::Choice& choice = inbox->choices[i];
        choice.times.last_token = Clock::now();
        if (choice.n_tokens++ == 0) choice.times.first_token = choice.times.last_token;
        choice.text += event.text;
        choice.last = eos || choice.n_tokens == most;
        if (!signal_each && !choice.last && choice.n_tokens > 1) return true;
        choice.news = true;
      }
      inbox->wake.notify_one();
      return true;
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

std::vector<News> Answer::wait(milliseconds timeout) {
  const auto any = [&] {
    return std::any_of(inbox_->choices.begin(), inbox_->choices.end(),
                       [](const auto& choice) { return choice.news; });
  };
  std::vector<bool> last(size());
  {
    std::unique_lock lock(inbox_->mutex);
    const bool woken = inbox_->wake.wait_for(lock, std::min(timeout, pause_), any);
    pause_ = woken ? kFirstPause : std::min(2 * pause_, kLongestPause);
    for (size_t i = 0; i < size(); ++i) last[i] = inbox_->choices[i].last;
  }
  std::vector<size_t> done;
  for (size_t i = 0; i < size(); ++i) {
    if (results_[i] || !(last[i] || generations_[i]->done())) continue;
    results_[i] = std::make_unique<GenerateResult>(generations_[i]->wait());
    ++n_ended_;
    done.push_back(i);
  }
  return take(done);
}

// After the ends were looked for, so that an end's text is there.
std::vector<News> Answer::take(const std::vector<size_t>& done) {
  std::vector<News> news;
  const std::lock_guard lock(inbox_->mutex);
  for (size_t i = 0; i < size(); ++i) {
    Inbox::Choice& choice = inbox_->choices[i];
    const bool ended = std::find(done.begin(), done.end(), i) != done.end();
    if (!choice.news && !ended) continue;
    choice.news = false;
    news.push_back({i, std::move(choice.text), ended ? results_[i].get() : nullptr});
    choice.text.clear();
  }
  return news;
}

}  // namespace seer::serve
