// Computes given tokens for their logits and gate rows, on the calling thread: the prompt in chunks, and then
// each further token as if it had been chosen by a decode. Each chunk and each such token is a step of its
// own, for which the evaluation takes the scheduler's turn.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "engine/src/engine_impl.h"

namespace seer {

class Evaluation {
 public:
  // Appends the request's prompt to `sequence`, which must be empty. All arguments must outlive the
  // evaluation.
  Evaluation(EngineImpl* engine, Sequence* sequence, const EvaluateRequest& request, const SparseRule& rule,
             const DecodeRule& decode_rule, std::atomic<bool>* cancelled);
  // Throws Error{kCancelled} if it was cancelled; the sequence then holds the tokens that were computed.
  RequestStats run();

 private:
  void compute();
  void prefill();
  void decode();
  // Computes the next n_tokens in a step of their own.
  void step(int64_t n_tokens);
  DecoderStats forward(int64_t n_tokens);
  // Returns the request's head_factors on the device, and brings them there before the first step. Null if
  // the request has none.
  const float* head_factors();
  void report_gate_keys();
  int64_t n_tokens() const { return static_cast<int64_t>(request_.tokens.size()); }
  bool decoding() const { return sequence_->n_computed() >= n_prompt_; }
  bool report(int64_t position, const Tensor& logits);
  void go_on();  // reports the progress; throws Error{kCancelled} if the evaluation is to stop

  EngineImpl* engine_;
  Sequence* sequence_;
  const EvaluateRequest& request_;
  SparseRule rule_;
  DecodeRule decode_rule_;
  int64_t n_prompt_;
  std::atomic<bool>* cancelled_;
  int64_t n_logits_;  // how many last positions' logits are reported
  Clock::time_point begin_ = Clock::now();
  RequestStats stats_;
  DecoderStats blocks_, decode_blocks_;
  std::vector<float> logits_;
  std::vector<double> losses_;
  Tensor head_factors_;  // the request's, on the device; empty if it has none
  std::vector<Buffer> buffers_;
  bool stopped_ = false;  // by on_logits or on_losses
};

}  // namespace seer
