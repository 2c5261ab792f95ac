// The implementation of the public Session. Generations go through the scheduler's batch. Evaluations read
// logits and gates on the way, so they compute one chunk at a time between the batch's steps.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/src/engine_impl.h"
#include "engine/src/own_process.h"
#include "engine/src/sequence.h"

namespace seer {

class SessionImpl final : public Session {
 public:
  explicit SessionImpl(std::shared_ptr<EngineImpl> engine);
  ~SessionImpl() override;

  GenerateResult generate(const GenerateRequest& request) override;
  RequestStats evaluate(const EvaluateRequest& request) override;
  const std::vector<int32_t>& tokens() const override { return sequence_->tokens(); }
  SavedSession save(const std::string& path, const std::string& note) override;
  void reset() override;
  void cancel() noexcept override;
  // Brings back what save() wrote. This session must be new; if an error is thrown, it must be destroyed.
  SavedSession restore(const std::string& path);

 private:
  class Running;  // marks the session as running for its lifetime

  // Must be called after a request that was stopped or failed. Afterwards the session holds only the tokens
  // that its user has seen.
  void settle(Request& request, int64_t n_before, int64_t n_prompted);

  std::shared_ptr<EngineImpl> engine_;
  OwnedHere<Sequence> sequence_;
  std::atomic<bool> running_{false}, cancelled_{false};
  // Notified if there is news for the running request; waited for with the scheduler's mutex.
  OwnedHere<std::condition_variable> changed_;
};

}  // namespace seer
