// The handle of a submitted request that its user holds.
#pragma once

#include <memory>

#include "engine/src/own_process.h"
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
    process_.check("the generation");
    std::unique_lock lock(signals_->mutex);
    request().changed->wait(lock, [this] { return ended(); });
    if (request().error) std::rethrow_exception(request().error);
    return request().final_result();
  }
  bool done() const noexcept override {
    if (!process_.here()) return true;  // wait() throws
    const std::lock_guard lock(signals_->mutex);
    return ended();
  }
  void cancel() noexcept override {
    if (!process_.here()) return;
    const std::lock_guard lock(signals_->mutex);
    if (ended()) return;
    request().cancelled = true;
    signals_->work.notify_one();
  }

 private:
  Request& request() const { return **request_; }
  bool ended() const { return request().state == Request::State::kEnded; }

  OwnProcess process_;
  OwnedHere<std::shared_ptr<Request>> request_;
  std::shared_ptr<Scheduler::Signals> signals_;
};

}  // namespace seer
