// A submitted request as its user holds it.
#pragma once

#include <memory>

#include "engine/src/request.h"
#include "engine/src/scheduler.h"
#include "seer/generation.h"

namespace seer {

class GenerationImpl final : public Generation {
 public:
  GenerationImpl(std::shared_ptr<Request> request, std::shared_ptr<Scheduler::Signals> signals)
      : request_(std::move(request)), signals_(std::move(signals)) {}
  ~GenerationImpl() override { GenerationImpl::cancel(); }

  GenerateResult wait() override {
    std::unique_lock lock(signals_->mutex);
    request_->changed->wait(lock, [this] { return ended(); });
    if (request_->error) std::rethrow_exception(request_->error);
    return request_->final_result();
  }
  bool done() const noexcept override {
    const std::lock_guard lock(signals_->mutex);
    return ended();
  }
  void cancel() noexcept override {
    const std::lock_guard lock(signals_->mutex);
    if (ended()) return;
    request_->cancelled = true;
    signals_->work.notify_one();
  }

 private:
  bool ended() const { return request_->state == Request::State::kEnded; }

  std::shared_ptr<Request> request_;
  std::shared_ptr<Scheduler::Signals> signals_;
};

}  // namespace seer
