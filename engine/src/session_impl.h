// One conversation: prefill by chunks, then a token at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/src/engine_impl.h"
#include "engine/src/sampler.h"
#include "engine/src/sequence.h"

namespace seer {

class SessionImpl final : public Session {
 public:
  explicit SessionImpl(std::shared_ptr<EngineImpl> engine);
  ~SessionImpl() override;

  GenerateResult generate(const GenerateRequest& request) override;
  RequestStats evaluate(const EvaluateRequest& request) override;
  const std::vector<int32_t>& tokens() const override { return sequence_.tokens(); }
  void reset() override;
  void cancel() noexcept override;

 private:
  struct Prefill {
    SparseRule rule;
    int64_t n_logits = 1;  // of this many last positions
    std::function<bool(int64_t position, const Tensor& logits)> on_logits;
    std::function<void(const GateRows&)> on_gate;
    std::function<bool(const PrefillProgress&)> on_progress;
  };
  class Running;  // marks the session as running for its lifetime

  // False where it was cancelled; the session then holds what was computed.
  bool prefill(const Prefill& request, RequestStats* stats);
  DecoderStats prefill_chunk(const Prefill& request, int64_t n_tokens, RequestStats* stats);
  // The token behind the last one, which is not in the cache yet.
  int32_t decode_step(Sampler* sampler, RequestStats* stats);
  int32_t choose(Sampler* sampler, const Tensor& logits);  // [1, n_vocab]
  void append_prompt(std::span<const int32_t> ids);
  bool cancelled() const { return state_.load() == kCancelled; }

  enum State { kIdle, kRunning, kCancelled };
  std::shared_ptr<EngineImpl> engine_;
  Sequence sequence_;
  std::atomic<int> state_{kIdle};
};

}  // namespace seer
