// Prefills a prompt for its logits and gate rows, on the calling thread. Each chunk is a step of its own, for
// which the scheduler's turn is taken.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "engine/src/engine_impl.h"

namespace seer {

class Evaluation {
 public:
  // Evaluates all tokens of `sequence`, none of which may be computed yet. All arguments must outlive it.
  Evaluation(EngineImpl* engine, Sequence* sequence, const EvaluateRequest& request, const SparseRule& rule,
             std::atomic<bool>* cancelled);
  // Throws Error{kCancelled} if it was cancelled; the sequence then holds the tokens that were computed.
  RequestStats run();

 private:
  void prefill();
  void chunk(int64_t n_tokens);
  DecoderStats forward(int64_t n_tokens);
  bool report_logits(int64_t position, const Tensor& logits);
  bool go_on();

  EngineImpl* engine_;
  Sequence* sequence_;
  const EvaluateRequest& request_;
  SparseRule rule_;
  std::atomic<bool>* cancelled_;
  int64_t n_logits_;  // how many last positions' logits are reported
  Clock::time_point begin_ = Clock::now();
  RequestStats stats_;
  DecoderStats blocks_;
  std::vector<float> logits_;
  bool logits_stopped_ = false;
};

}  // namespace seer
