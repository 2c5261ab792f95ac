// Steps on the model: a batch goes through the decoder, and tokens are chosen from its logits.
#pragma once

#include "engine/src/batch.h"
#include "engine/src/host_rows.h"
#include "kernels/backend.h"

namespace seer {

class ModelRunner final : public StepRunner {
 public:
  // Both outlive it.
  ModelRunner(Backend* backend, Decoder* decoder)
      : backend_(backend), decoder_(decoder), host_rows_(backend) {}
  void run(Batch* batch) override;

 private:
  // Chooses tokens by the logit rows first .. first + n, and reads those that are wanted on the host.
  void take_logits(Batch* batch, size_t first, const Tensor& logits);

  Backend* backend_;
  Decoder* decoder_;
  HostRows host_rows_;
};

}  // namespace seer
