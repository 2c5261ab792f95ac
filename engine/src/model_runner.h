// Runs steps on the model: a batch goes through the decoder, and tokens are chosen from its logits.
#pragma once

#include "engine/src/batch.h"
#include "engine/src/host_rows.h"
#include "kernels/backend.h"
#include "kernels/comm/communicator.h"

namespace seer {

class ModelRunner final : public StepRunner {
 public:
  // All arguments must outlive it. `comm` is the decoder's, or null.
  ModelRunner(Backend* backend, Decoder* decoder, Communicator* comm)
      : backend_(backend), decoder_(decoder), comm_(comm), host_rows_(backend) {}
  void run(Batch* batch) override;
  void check() override {
    backend_->check_device();
    if (comm_ != nullptr) comm_->check({});
  }

 private:
  // Chooses tokens by the logit rows first .. first + n, and reads those rows that are wanted on the host.
  void use_logits(Batch* batch, size_t first, const Tensor& logits);

  Backend* backend_;
  Decoder* decoder_;
  Communicator* comm_;
  HostRows host_rows_;
};

}  // namespace seer
