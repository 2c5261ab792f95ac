#include "engine/src/session_impl.h"

#include <algorithm>

#include "engine/src/evaluation.h"

namespace seer {

class SessionImpl::Running {
 public:
  explicit Running(SessionImpl* session) : session_(session) {
    session_->cancelled_ = false;
    session_->running_ = true;
  }
  ~Running() { session_->running_ = false; }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  SessionImpl* session_;
};

SessionImpl::SessionImpl(std::shared_ptr<EngineImpl> engine)
    : engine_(std::move(engine)), sequence_(engine_->pages(), engine_->prefill_traits(), engine_->tiers()) {}

SessionImpl::~SessionImpl() {
  if (engine_->in_own_process()) SessionImpl::reset();
}

void SessionImpl::reset() {
  engine_->check_process();
  const std::lock_guard lock(engine_->scheduler().mutex());
  sequence_->clear();
}

void SessionImpl::cancel() noexcept {
  if (!engine_->in_own_process()) return;
  const std::lock_guard lock(engine_->scheduler().mutex());
  if (!running_) return;
  cancelled_ = true;
  changed_->notify_all();
}

GenerateResult SessionImpl::generate(const GenerateRequest& asked) {
  engine_->check_process();
  const auto request =
      std::make_shared<Request>(engine_->setup(asked, sequence_->tokens()), &*sequence_, &*changed_);
  engine_->check_prompt(asked.prompt, sequence_->n_tokens());
  const int64_t n_before = sequence_->n_tokens();
  sequence_->append(asked.prompt);
  const int64_t n_prompted = sequence_->n_tokens();
  const Running running(this);
  try {
    if (engine_->scheduler().run(request, cancelled_)) return request->final_result();
  } catch (...) {
    settle(*request, n_before, n_prompted);
    throw;
  }
  settle(*request, n_before, n_prompted);
  Delivery& delivery = request->delivery();
  if (!delivery.delivered_any()) {  // without callbacks no event brought them
    delivery.result().stats = request->stats();
    delivery.result().stats.n_generated = delivery.result().stats.decode_device_ns = 0;
  }
  return delivery.result();
}

void SessionImpl::settle(Request& request, int64_t n_before, int64_t n_prompted) {
  const std::lock_guard lock(engine_->scheduler().mutex());
  const Delivery& delivery = request.delivery();
  if (!request.started()) return sequence_->truncate(n_before);
  // The batch may have been ahead of the callbacks.
  sequence_->truncate(delivery.delivered_any() ? delivery.kept() : n_prompted);
  if (delivery.result().stats.n_generated == 0) sequence_->drop_uncomputed();
}

namespace {

// Throws Error{kUsage} unless there is one id of the vocabulary for each position whose loss is asked for.
void check_targets(const EvaluateRequest& request, int64_t n_vocab) {
  if (!request.on_losses) return;
  const auto n_tokens = static_cast<int64_t>(request.tokens.size());
  const int64_t expected = request.n_last_logits == 0 ? n_tokens : std::min(n_tokens, request.n_last_logits);
  if (static_cast<int64_t>(request.targets.size()) != expected)
    throw Error(ErrorKind::kUsage, "expected a target for each of the " + std::to_string(expected) +
                                       " positions whose losses are asked for, found " +
                                       std::to_string(request.targets.size()));
  for (const int32_t id : request.targets)
    if (id < 0 || id >= n_vocab)
      throw Error(ErrorKind::kUsage, "targets: expected ids below the vocabulary's " +
                                         std::to_string(n_vocab) + ", found " + std::to_string(id));
}

}  // namespace

RequestStats SessionImpl::evaluate(const EvaluateRequest& request) {
  engine_->check_process();
  const SparseRule rule = engine_->resolve(request);
  if (request.n_last_logits < 0)
    throw Error(ErrorKind::kUsage, "expected logits of 0 (all) or more positions, found " +
                                       std::to_string(request.n_last_logits));
  const auto n_tokens = static_cast<int64_t>(request.tokens.size());
  if (request.n_prompt < 0 || request.n_prompt > n_tokens)
    throw Error(ErrorKind::kUsage, "expected a prompt of 0 (all) to " + std::to_string(n_tokens) +
                                       " tokens, as many as there are, found " +
                                       std::to_string(request.n_prompt));
  if (request.on_decode_gate_keys && (!engine_->model().decode_gates || engine_->info().n_ranks > 1))
    throw Error(ErrorKind::kUsage, "keys of decode gates need gates for decoding, and an engine of one rank");
  check_targets(request, engine_->config().n_vocab);
  const DecodeRule decode_rule = engine_->resolve(request.sparse_decode);
  reset();
  engine_->check_prompt(request.tokens, 0);
  const Running running(this);
  return Evaluation(engine_.get(), &*sequence_, request, rule, decode_rule, &cancelled_).run();
}

}  // namespace seer
