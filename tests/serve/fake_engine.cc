#include "tests/serve/fake_engine.h"

#include <condition_variable>
#include <thread>

#include "tests/support/test_data.h"

namespace seer::serve::testing {
namespace {

// Returns the token itself with a log-probability of -0.5, and the ids after it, each 1 lower than the last.
PositionLogprobs logprobs_of(int32_t id, int64_t n) {
  PositionLogprobs at{{id, -0.5F}, {}};
  for (int32_t i = 0; i < n; ++i) at.top.push_back({id + i, -0.5F - static_cast<float>(i)});
  return at;
}

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
    if (request_.n_prompt_logprobs)
      for (size_t i = 1; i < request_.prompt.size(); ++i)
        result_.prompt_logprobs.push_back(logprobs_of(request_.prompt[i], *request_.n_prompt_logprobs));
    bool first = true;
    for (const std::string& piece : script_.pieces) {
      const bool silent = piece.starts_with('#');
      const int32_t id = silent ? std::stoi(piece.substr(1)) : kSomeToken;
      const std::string text = silent ? "" : piece;
      const PositionLogprobs logprobs = logprobs_of(id, request_.n_logprobs.value_or(0));
      TokenEvent event{id, text};
      if (request_.n_logprobs) event.logprobs = &logprobs;
      if (first && request_.n_prompt_logprobs) event.prompt_logprobs = &result_.prompt_logprobs;
      first = false;
      request_.on_token(event);
      result_.text += text;
    }
    while (script_.held && !*released_) std::this_thread::yield();
    std::unique_lock lock(mutex_);
    if (script_.endless) {
      wake_.wait(lock, [&] { return cancelled_; });
      ++*n_cancelled_;
      result_.finish = FinishReason::kCancelled;
    }
    if (!script_.endless && result_.finish == FinishReason::kLength) result_.finish = script_.finish;
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
  std::thread thread_;  // declared last, because it uses the others
};

class FakeSession final : public Session {
 public:
  FakeSession(const ModelInfo& model, std::atomic<int64_t>* n_evaluating, std::function<bool()> held)
      : model_(model), n_evaluating_(n_evaluating), held_(std::move(held)) {}

  GenerateResult generate(const GenerateRequest&) override {
    throw Error(ErrorKind::kUnsupported, "no generations here");
  }

  RequestStats evaluate(const EvaluateRequest& request) override {
    struct Counted {
      explicit Counted(std::atomic<int64_t>* n) : n_(n) { ++*n_; }
      ~Counted() { --*n_; }
      std::atomic<int64_t>* n_;
    };
    const Counted counted(n_evaluating_);
    const auto n_tokens = static_cast<int64_t>(request.tokens.size());
    do {
      std::this_thread::yield();
      if (!request.on_progress({n_tokens, 0, 0, 0.0})) throw Error(ErrorKind::kCancelled, "cancelled");
    } while (held_());
    const int64_t block = model_.gates.value().gate_block;
    const int64_t n_blocks = n_tokens < block ? 0 : (n_tokens + block - 1) / block;
    const std::vector<float> scores(static_cast<size_t>(model_.n_heads * n_blocks * n_blocks), 0.25F);
    std::vector<uint8_t> mask(scores.size(), 0);
    for (int64_t row = 0; row < model_.n_heads * n_blocks; ++row)
      mask[static_cast<size_t>(row * n_blocks + row % n_blocks)] = 1;
    for (int64_t layer = 0; n_blocks > 0 && layer < model_.n_layers; ++layer)
      request.on_gate({layer, 0, n_blocks, model_.n_heads, n_blocks, scores.data(), mask.data()});
    RequestStats stats;
    stats.density = 0.5;
    return stats;
  }

  const std::vector<int32_t>& tokens() const override { return tokens_; }
  void reset() override {}
  void cancel() noexcept override {}
  SavedSession save(const std::string&, const std::string&) override {
    throw Error(ErrorKind::kUnsupported, "no files here");
  }

 private:
  const ModelInfo& model_;
  std::atomic<int64_t>* n_evaluating_;
  const std::function<bool()> held_;
  const std::vector<int32_t> tokens_;
};

}  // namespace

std::unique_ptr<Session> FakeEngine::load_session(const std::string&, SavedSession*) {
  throw Error(ErrorKind::kUnsupported, "no files here");
}

FakeEngine::FakeEngine(Script script)
    : script_(std::move(script)),
      tokenizer_(Tokenizer::load((seer::testing::demo_model() / "model").string())) {
  info_.ctx_size = 1000;
  info_.page_tokens = 64;
  info_.n_pages = 16;
  model_.n_vocab = tokenizer_->n_vocab();
  model_.eos_ids = {2};
}

std::unique_ptr<Session> FakeEngine::new_session() {
  if (!model_.gates) throw Error(ErrorKind::kUnsupported, "no sessions here");
  return std::make_unique<FakeSession>(model_, &n_evaluating, [this] { return script_.held && !released_; });
}

void FakeEngine::have_gates() {
  model_.n_layers = 3;
  model_.n_heads = 2;
  model_.n_kv_heads = 1;
  model_.gates.emplace();
  model_.gates->gate_block = 64;
  model_.gates->default_rule = SparseRule::parse("threshold=0.002");
}

void FakeEngine::have_decode_gates() {
  model_.decode_gates.emplace();
  model_.decode_gates->gate_block = 64;
  model_.decode_gates->start_layer = 1;
  model_.decode_gates->default_rule = SparseDecodeRule::parse("budget=4096");
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
