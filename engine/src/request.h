// One request under way: its state for the scheduler, the tokens chosen so far, and their delivery to the
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
#include "engine/src/tiers/restore_job.h"
#include "models/decoder.h"
#include "seer/request.h"

namespace seer {

using Clock = std::chrono::steady_clock;

// A token or a progress that the user is told of, with the state of the request at that time.
struct Event {
  bool is_token = false;  // else it is the prefill's progress
  PrefillProgress progress{};
  int32_t id = -1;
  std::string text;
  std::optional<PositionLogprobs> logprobs;
  std::shared_ptr<const std::vector<PositionLogprobs>> prompt_logprobs;  // with the first token
  bool last = false;
  FinishReason finish = FinishReason::kLength;  // valid if `last`
  std::string stop;                             // the stop string met
  int32_t stop_id = -1;                         // the id that ended the request
  int64_t n_tokens = 0;  // how many tokens the sequence holds if the request is stopped by this event
  Clock::time_point at;
  RequestStats stats;
};

// Makes the result from events, and calls the user's callbacks. It is used on one thread: the thread that
// called the session, or the scheduler's for a submitted request.
class Delivery {
 public:
  // `request` must outlive it.
  explicit Delivery(const GenerateRequest* request) : request_(request) {}

  // Returns false if a callback stops the request. Passes on an exception of a callback; kept() is then this
  // event's.
  bool deliver(const Event& event);
  // Returns how many tokens the sequence is to hold if delivery was stopped: n_tokens of the last event
  // that was delivered.
  int64_t kept() const { return kept_; }
  bool delivered_any() const { return delivered_any_; }
  bool delivered_last() const { return delivered_last_; }
  GenerateResult& result() { return result_; }
  const GenerateResult& result() const { return result_; }

 private:
  const GenerateRequest* request_;
  GenerateResult result_;
  int64_t kept_ = 0;
  bool delivered_any_ = false, delivered_last_ = false;
  Clock::time_point first_token_;
};

// Everything that the scheduler must know to carry out a request.
struct RequestSetup {
  GenerateRequest request;  // its prompt is in the sequence already
  SparseRule rule;
  DecodeRule decode_rule;
  bool share_pages = false;  // whether pages are shared through the prefix cache
  const std::vector<int32_t>* eos_ids = nullptr;
  std::vector<std::pair<int32_t, std::string>> stop_names;  // stop strings that name a token, by its id
  const TextTokenizer* tokenizer = nullptr;                 // null: no text
  bool at_start = true;                                     // whether only special tokens came before
  int64_t ctx_size = 0;
};

// From submission to the end, only the holder of the scheduler's turn (Scheduler::Turn) may use the sequence,
// sampler, text and statistics. The scheduler's mutex guards the members under the heading that names it.
class Request {
 public:
  enum class State { kWaiting, kRunning, kEnded };

  // Makes a submitted request, which owns its sequence; the scheduler's thread delivers it.
  Request(RequestSetup setup, std::unique_ptr<Sequence> sequence);
  // Makes a session's request, which is delivered on the thread that called the session; that thread waits
  // for `changed`.
  Request(RequestSetup setup, Sequence* sequence, std::condition_variable* changed);

  Sequence& sequence() { return *sequence_; }
  const GenerateRequest& asked() const { return setup_.request; }
  bool of_session() const { return own_ == nullptr; }
  Delivery& delivery() { return delivery_; }
  const RequestStats& stats() const { return stats_; }
  // The request must have ended and been delivered completely.
  GenerateResult final_result() const;

  // ---- only for the holder of the turn ----

  // Is called when the request enters the batch for the first time, or again after its pages were taken.
  void start();
  bool started() const { return started_; }
  bool finished() const { return finished_; }  // chose its last token
  // Is called after a step that computed n_tokens of the request's prefill, with the request's share of the
  // step's times.
  void prefilled(int64_t n_tokens, const DecoderStats& blocks, int64_t attention_ns, int64_t gate_ns);
  // Is called when pages that a job brings back have their contents, when steps may begin although they do
  // not have them yet, and when the job has ended.
  void restored(RestoreJob& job, int64_t page_tokens);
  // Is called if the pages for which steps were to wait do not get their contents, because the request loses
  // them, the device has failed or the host has no memory. If the request goes on, it computes these tokens.
  void lose_expected(const RestoreJob& job);
  // Counts the time that a job took whose last page came at `end`. restored() calls this if the job has
  // ended. If instead a step that waited for the pages ends first, restored() is not called again, and the
  // scheduler calls this.
  void restored_by(const RestoreJob& job, Clock::time_point end);
  // Is called after a step that decoded a token of the request. `blocks` counts the blocks that gates kept
  // for the token.
  void decoded(int64_t step_ns, const DecoderStats& blocks);
  const DecodeRule& decode_rule() const { return setup_.decode_rule; }
  SampleRow next_sample() { return sampler_.next(sequence_->tokens()); }
  // Takes the token that a step chose. Throws Error{kRuntime} if there was no token to choose.
  void chosen(int32_t id);

  // The logits of the prompt's positions first_prompt_logits() to n_prompt_logits() - 1 are wanted, and were
  // not taken yet.
  int64_t first_prompt_logits() const { return n_taken_; }
  int64_t n_prompt_logits() const {
    return setup_.request.n_prompt_logprobs ? sequence_->prompt_tokens() - 1 : 0;
  }
  // Takes the logits of `position`, the next one wanted. The span need not be valid after the call; that
  // holds for keep_logits() too.
  void take_prompt_logits(int64_t position, std::span<const float> logits);
  // Returns whether the row by which a token is chosen must be read to the host. If so, keep_logits() gets
  // it, and finish_row() must follow in the same step. finish_row() chooses the token if the request has a
  // hook (on_logits), and may throw as the hook does.
  bool wants_row() const {
    return setup_.request.max_new_tokens != 0 && (setup_.request.n_logprobs || has_hook());
  }
  bool has_hook() const { return setup_.request.on_logits != nullptr; }
  void keep_logits(std::span<const float> logits) { logits_.assign(logits.begin(), logits.end()); }
  void finish_row(const SampleRow& row, int32_t* chosen, std::vector<float>* scratch);
  // Returns the events that were not queued or delivered yet.
  std::vector<Event>& fresh() { return fresh_; }

  // ---- under the scheduler's mutex ----
  State state = State::kWaiting;
  bool removed = false;  // ended, and the scheduler will not touch its sequence and `changed` any more
  int64_t arrival = 0;
  int64_t n_passed = 0;  // how often a later request was let in while this one did not fit
  int64_t allotted = 0;  // tokens of the step being packed
  bool in_step() const { return allotted > 0 && state == State::kRunning; }
  std::vector<Event> events;            // of a session's request, to be delivered
  int64_t n_undelivered = 0;            // `events`, and those that are being delivered
  std::exception_ptr error;             // why it failed
  std::shared_ptr<Request> next_ended;  // the next of the scheduler's chain
  std::condition_variable* changed;
  // Pages that are being brought back. The request is in no step until the job has started() or ended.
  std::shared_ptr<RestoreJob> restore;
  bool parked() const;  // whether it must wait for its delivery, because it is too far ahead of it

  // Any thread.
  std::atomic<bool> cancelled{false};

 private:
  void report_progress();
  // Returns why `id` ends the request, and sets event's stop and stop_id; absent if it does not end it.
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
  DecoderStats prompt_blocks_, decode_blocks_;
  Clock::time_point started_at_;
  bool started_ = false, finished_ = false;
};

}  // namespace seer
