// The generations of one request, and what they produce, in order. The engine's callbacks put text in; the
// thread of the connection takes it out.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/serve/http/exchange.h"

namespace seer::serve {

// A token that was chosen, and the text that became certain with it, which may be none.
struct TokenPiece {
  int32_t id;
  std::string text;
  std::optional<PositionLogprobs> logprobs;                      // if they were asked for
  std::optional<std::vector<PositionLogprobs>> prompt_logprobs;  // likewise, with the first token
};

// What happened to one choice.
struct News {
  size_t choice;
  std::vector<TokenPiece> tokens;          // maybe none
  const GenerateResult* result = nullptr;  // not null: it has ended, after `tokens`
};

struct ChoiceTimes {
  Clock::time_point first_token, last_token;  // epoch where there was none
};

class Answer {
 public:
  // Submits every request; throws what Engine::submit throws, those submitted before it being cancelled.
  // `at_once`: News are wanted for every token, else for the first one and for ends.
  Answer(Engine* engine, std::vector<GenerateRequest> requests, bool at_once);
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
  int64_t n_tokens() const;  // of all choices so far

 private:
  struct Inbox;

  std::shared_ptr<Inbox> inbox_;  // the callbacks' too, which may outlive this
  std::vector<std::unique_ptr<Generation>> generations_;
  std::vector<std::unique_ptr<GenerateResult>> results_;  // null: not ended
  size_t n_ended_ = 0;
};

}  // namespace seer::serve
