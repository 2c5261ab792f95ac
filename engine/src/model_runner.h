// Steps on the model: a batch goes through the decoder, and tokens are chosen from its logits.
#pragma once

#include "engine/src/batch.h"
#include "kernels/backend.h"

namespace seer {

class ModelRunner final : public StepRunner {
 public:
  // Both outlive it.
  ModelRunner(Backend* backend, Decoder* decoder) : backend_(backend), decoder_(decoder) {}
  void run(Batch* batch) override;

 private:
  Backend* backend_;
  Decoder* decoder_;
};

}  // namespace seer
