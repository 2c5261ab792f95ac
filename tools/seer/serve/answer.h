// The generations of one request, and their output in order. The engine's callbacks put tokens in; the
// connection's thread takes them out.
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

// A chosen token, and the text (perhaps none) that became certain with it.
struct TokenPiece {
  int32_t id;
  std::string text;
  std::optional<PositionLogprobs> logprobs;                      // present if they were asked for
  std::optional<std::vector<PositionLogprobs>> prompt_logprobs;  // likewise; they come with the first token
};

struct ChoiceTimes {
  Clock::time_point first_token, last_token;  // the clock's epoch if there was no token
};

// An event of one choice.
struct News {
  size_t choice;
  std::vector<TokenPiece> tokens;          // may be empty
  const GenerateResult* result = nullptr;  // not null: the choice has ended, after `tokens`
  ChoiceTimes times;                       // if it has ended
};

class Answer {
 public:
  // Submits every request. Throws what Engine::submit throws, after cancelling those submitted before. With
  // `at_once`, wait() returns News for every token, else only for the first token and for ends.
  Answer(Engine* engine, std::vector<GenerateRequest> requests, bool at_once);
  ~Answer();  // cancels the running generations, without waiting for their ends
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  // Waits at most `timeout` and returns the news, perhaps none. Throws the error that a generation failed
  // with.
  std::vector<News> wait(std::chrono::milliseconds timeout);
  bool ended() const { return n_ended_ == generations_.size(); }
  void cancel() noexcept;

  size_t size() const { return generations_.size(); }
  const GenerateResult& result(size_t choice) const { return *results_[choice]; }  // if it has ended
  ChoiceTimes times(size_t choice) const;
  int64_t n_tokens() const;  // of all choices so far

 private:
  struct Inbox;

  std::shared_ptr<Inbox> inbox_;  // shared with the callbacks, which may outlive this object
  std::vector<std::unique_ptr<Generation>> generations_;
  std::vector<std::unique_ptr<GenerateResult>> results_;  // null until the choice ends
  size_t n_ended_ = 0;
};

}  // namespace seer::serve
