#include "tests/serve/fake_engine.h"

#include <condition_variable>
#include <thread>

#include "tests/support/test_data.h"

namespace seer::serve::testing {
namespace {

constexpr int32_t kSomeToken = 300;

class FakeGeneration final : public Generation {
 public:
  FakeGeneration(const Script& script, GenerateRequest request, std::atomic<int64_t>* n_cancelled,
                 const std::atomic<bool>* released)
      : script_(script),
        request_(std::move(request)),
        n_cancelled_(n_cancelled),
        released_(released),
        thread_([this] { run(); }) {}

  ~FakeGeneration() override {
    cancel();
    thread_.join();
  }

  GenerateResult wait() override {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return done_; });
    if (script_.failure) throw Error(*script_.failure);
    return result_;
  }

  bool done() const noexcept override {
    const std::lock_guard lock(mutex_);
    return done_;
  }

  void cancel() noexcept override {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    wake_.notify_all();
  }

 private:
  void run() {
    for (const std::string& piece : script_.pieces) {
      request_.on_token({kSomeToken, piece});
      result_.text += piece;
    }
    while (script_.held && !*released_) std::this_thread::yield();
    std::unique_lock lock(mutex_);
    if (script_.endless) {
      wake_.wait(lock, [&] { return cancelled_; });
      ++*n_cancelled_;
      result_.finish = FinishReason::kCancelled;
    }
    result_.stats.n_generated = static_cast<int64_t>(script_.pieces.size());
    done_ = true;
    wake_.notify_all();
    lock.unlock();
    request_.on_end();
  }

  const Script script_;
  const GenerateRequest request_;
  std::atomic<int64_t>* n_cancelled_;
  const std::atomic<bool>* released_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false, cancelled_ = false;
  GenerateResult result_;
  std::thread thread_;  // the last: it uses the others
};

}  // namespace

FakeEngine::FakeEngine(Script script)
    : script_(std::move(script)),
      tokenizer_(Tokenizer::load((seer::testing::demo_model() / "model").string())) {
  info_.ctx_size = 1000;
  model_.n_vocab = tokenizer_->n_vocab();
  model_.eos_ids = {2};
}

std::unique_ptr<Session> FakeEngine::new_session() {
  throw Error(ErrorKind::kUnsupported, "no sessions here");
}

std::unique_ptr<Generation> FakeEngine::submit(GenerateRequest request) {
  const std::lock_guard lock(mutex_);
  submitted_.push_back(request);
  return std::make_unique<FakeGeneration>(script_, std::move(request), &n_cancelled, &released_);
}

EngineStats FakeEngine::stats() const {
  EngineStats stats{};
  stats.n_waiting = n_waiting;
  return stats;
}

std::vector<GenerateRequest> FakeEngine::submitted() const {
  const std::lock_guard lock(mutex_);
  return submitted_;
}

}  // namespace seer::serve::testing
