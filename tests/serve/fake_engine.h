// An engine whose generations do as a test's script says. It can fail, or go on without end, at once and
// every time.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "seer/engine.h"

namespace seer::serve::testing {

inline constexpr int32_t kSomeToken = 300;  // the token of pieces with a text

struct Script {
  std::vector<std::string> pieces;  // each gives a token; "#7" is the token 7, without a text
  std::optional<Error> failure;     // thrown instead of a regular end
  bool endless = false;             // after the pieces, goes on until it is cancelled
  bool held = false;                // after the pieces, waits until release()
  FinishReason finish = FinishReason::kLength;
};

class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(Script script);

  const ModelInfo& model() const override { return model_; }
  const EngineInfo& info() const override { return info_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }  // the demo model's
  std::unique_ptr<Session> new_session() override;
  std::unique_ptr<Generation> submit(GenerateRequest request) override;
  std::unique_ptr<Session> load_session(const std::string& path, SavedSession* saved) override;
  EngineStats stats() const override;
  std::optional<Error> failure() const override {
    return failed ? std::optional(Error(ErrorKind::kDevice, "rank 1 of 2 has ended")) : std::nullopt;
  }

  std::vector<GenerateRequest> submitted() const;  // the requests so far
  void release() { released_ = true; }
  // From now on the model has gates with blocks of 64 tokens, and sessions can evaluate: every head of every
  // layer keeps each row's own block alone. With `Script::held` an evaluation goes on until release().
  // Call it before the engine is used.
  void have_gates();
  // From now on the model has gates for decoding, with blocks of 64 tokens. Call it before the engine is
  // used.
  void have_decode_gates();
  std::atomic<int64_t> n_waiting{0}, n_cancelled{0}, n_evaluating{0};
  std::atomic<bool> failed{false};  // if set, failure() returns an error

 private:
  const Script script_;
  std::atomic<bool> released_{false};
  ModelInfo model_;
  EngineInfo info_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  mutable std::mutex mutex_;
  std::vector<GenerateRequest> submitted_;
};

}  // namespace seer::serve::testing
