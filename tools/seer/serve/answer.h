// The generations of one request, and what they produce, in order. The engine's callbacks put text in; the
// thread of the connection takes it out.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/serve/connection.h"

namespace seer::serve {

// What happened to one choice.
struct News {
  size_t choice;
  std::string text;                        // maybe empty
  const GenerateResult* result = nullptr;  // not null: it has ended, after `text`
};

struct ChoiceTimes {
  Clock::time_point first_token, last_token;  // epoch where there was none
};

class Answer {
 public:
  // Submits every request; throws what Engine::submit throws, those submitted before it being cancelled.
  // `want_text`: News are wanted for every piece of text, else for ends alone.
  Answer(Engine* engine, std::vector<GenerateRequest> requests, bool want_text);
  ~Answer();  // cancels what still runs, without waiting
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  // Waits at most `timeout`; returns what there is, maybe nothing. Throws what a generation failed with.
  std::vector<News> wait(std::chrono::milliseconds timeout);
  bool ended() const { return n_ended_ == generations_.size(); }
  void cancel() noexcept;

  size_t size() const { return generations_.size(); }
  const GenerateResult& result(size_t choice) const { return *results_[choice]; }  // of one that has ended
  ChoiceTimes times(size_t choice) const;

 private:
  struct Inbox;

  std::shared_ptr<Inbox> inbox_;  // the callbacks' too, which may outlive this
  std::vector<std::unique_ptr<Generation>> generations_;
  std::vector<std::unique_ptr<GenerateResult>> results_;  // null: not ended
  size_t n_ended_ = 0;
};

}  // namespace seer::serve
