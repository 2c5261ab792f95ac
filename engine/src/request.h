// One request on its way: what the scheduler knows of it, what it chose so far, and how that reaches the
// user.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/src/logprobs.h"
#include "engine/src/sampler.h"
#include "engine/src/sequence.h"
#include "engine/src/text_stream.h"
#include "models/decoder.h"
#include "seer/request.h"

namespace seer {

using Clock = std::chrono::steady_clock;

// Something that the user is told, with what the request had done by then.
struct Event {
  bool is_token = false;  // else the prefill's progress
  PrefillProgress progress{};
  int32_t id = -1;
  std::string text;
  std::optional<PositionLogprobs> logprobs;
  std::shared_ptr<const std::vector<PositionLogprobs>> prompt_logprobs;  // with the first token
  bool last = false;
  FinishReason finish = FinishReason::kLength;  // where last
  std::string stop;                             // the stop string met
  int32_t stop_id = -1;                         // the id that ended the request
  int64_t n_tokens = 0;  // what the sequence holds where the request is stopped by this event
  Clock::time_point at;
  RequestStats stats;
};

// Makes the result out of events, and calls the user's callbacks. On one thread: that which called a session,
// or the scheduler's.
class Delivery {
 public:
  // `request` outlives it.
  explicit Delivery(const GenerateRequest* request) : request_(request) {}

  // False where a callback stops the request. Passes on what a callback throws; kept() is then this event's.
  bool take(const Event& event);
  // What the sequence is to hold where delivery was stopped: that of the last event taken.
  int64_t kept() const { return kept_; }
  bool took_any() const { return took_any_; }
  bool took_last() const { return took_last_; }
  GenerateResult& result() { return result_; }
  const GenerateResult& result() const { return result_; }

 private:
  const GenerateRequest* request_;
  GenerateResult result_;
  int64_t kept_ = 0;
  bool took_any_ = false, took_last_ = false;
  Clock::time_point first_token_;
};

// What the scheduler must know to carry out a request.
struct RequestSetup {
  GenerateRequest request;  // its prompt is in the sequence already
  SparseRule rule;
  bool share = false;  // pages, through the prefix cache
  const std::vector<int32_t>* eos_ids = nullptr;
  std::vector<std::pair<int32_t, std::string>> stop_names;  // stop strings that name a token, by its id
  const TextTokenizer* tokenizer = nullptr;                 // null: no text
  bool at_start = true;                                     // nothing but special tokens came before
  int64_t ctx_size = 0;
};

// Between submission and end the sequence, sampler, text and statistics belong to whoever holds the
// scheduler's turn; `state`, `events` and what else is marked so to the scheduler's mutex.
class Request {
 public:
  enum class State { kWaiting, kRunning, kEnded };

  // A submitted request, which owns its sequence and is delivered by the scheduler.
  Request(RequestSetup setup, std::unique_ptr<Sequence> sequence);
  // A session's, delivered on the thread that called it; `changed` is waited for there.
  Request(RequestSetup setup, Sequence* sequence, std::condition_variable* changed);

  Sequence& sequence() { return *sequence_; }
  const GenerateRequest& asked() const { return setup_.request; }
  bool of_session() const { return own_ == nullptr; }
  Delivery& delivery() { return delivery_; }
  const RequestStats& stats() const { return stats_; }
  // Of one that has ended and was delivered whole.
  GenerateResult final_result() const;

  // ---- the turn holder's ----
  // Enters the batch for the first time, or again after its pages were taken.
  void start();
  bool started() const { return started_; }
  bool finished() const { return finished_; }  // chose its last token
  // A step computed n_tokens of a prefill, with its share of the step's times.
  void prefilled(int64_t n_tokens, const DecoderStats& blocks, int64_t attention_ns, int64_t gate_ns);
  void decoded(int64_t step_ns);
  SampleRow next_sample() { return sampler_.next(sequence_->tokens()); }
  // Takes the token that a step chose. Throws Error{kRuntime} where there was none to choose.
  void chosen(int32_t id);

  // The positions of the prompt whose logits are wanted, and were not taken yet: from first_ on, and before
  // n_.
  int64_t first_prompt_logits() const { return n_taken_; }
  int64_t n_prompt_logits() const {
    return setup_.request.n_prompt_logprobs ? sequence_->prompt_tokens() - 1 : 0;
  }
  // The logits of `position`, the next one wanted. They are read here, and in keep_logits(), only.
  void take_prompt_logits(int64_t position, std::span<const float> logits);
  // Whether the row by which a token is chosen is to come to the host. It then comes by keep_logits(), and
  // finish_row() follows in the same step: it chooses the token if the request has a hook, which may throw.
  bool wants_row() const {
    return setup_.request.max_new_tokens != 0 && (setup_.request.n_logprobs || has_hook());
  }
  bool has_hook() const { return setup_.request.on_logits != nullptr; }
  void keep_logits(std::span<const float> logits) { logits_.assign(logits.begin(), logits.end()); }
  void finish_row(const SampleRow& row, int32_t* chosen, std::vector<float>* scratch);
  // Events that no one has seen yet.
  std::vector<Event>& fresh() { return fresh_; }

  // ---- under the scheduler's mutex ----
  State state = State::kWaiting;
  int64_t arrival = 0;
  int64_t n_passed = 0;                 // times a later request was let in before this one, which did not fit
  int64_t allotted = 0;                 // tokens of the step being packed
  std::vector<Event> events;            // a session's, to be delivered
  int64_t n_undelivered = 0;            // these, and those being delivered
  std::exception_ptr error;             // why it failed
  std::shared_ptr<Request> next_ended;  // the next of the scheduler's chain
  std::condition_variable* changed;
  bool parked() const;  // so far ahead of its delivery that it waits for that

  // Any thread.
  std::atomic<bool> cancelled{false};

 private:
  void report_progress();
  // Why `id` ends the request, with event's stop and stop_id; absent if it does not.
  std::optional<FinishReason> ended_by(int32_t id, Event* event) const;

  RequestSetup setup_;
  std::unique_ptr<Sequence> own_;
  Sequence* sequence_;
  std::condition_variable own_changed_;
  Sampler sampler_;
  TextStream text_;
  Delivery delivery_;
  std::vector<Event> fresh_;
  std::vector<float> logits_;                 // the row that was kept
  std::optional<PositionLogprobs> logprobs_;  // of the token chosen by it
  int64_t n_taken_ = 0;                       // positions of the prompt whose logits were taken
  std::shared_ptr<std::vector<PositionLogprobs>> prompt_logprobs_;  // null unless asked for
  RequestStats stats_;
  int64_t kept_blocks_ = 0, causal_blocks_ = 0;
  Clock::time_point started_at_;
  bool started_ = false, finished_ = false;
};

}  // namespace seer
