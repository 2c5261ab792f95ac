#include "engine/src/model_runner.h"

namespace seer {

void ModelRunner::run(Batch* batch) {
  batch->chosen.assign(batch->logit_rows.size(), -1);
  batch->blocks.assign(batch->prefills.size(), {});
  DecoderStep in;
  in.ids = batch->ids;
  in.step = {batch->n_tokens(), batch->prefills, batch->decodes};
  in.plans = batch->plans;
  in.logit_rows = batch->logit_rows;
  in.segment_stats = batch->blocks;
  in.on_logits = [this, batch](int64_t first, const Tensor& logits) {
    const auto begin = static_cast<size_t>(first), n = static_cast<size_t>(logits.dim(0));
    backend_->sample(std::span(batch->chosen).subspan(begin, n), logits,
                     std::span(batch->samples).subspan(begin, n));
    return true;
  };
  backend_->reset_phases();
  decoder_->forward(in);
  batch->attention_ns = backend_->phase_ns(Phase::kAttention);
  batch->gate_ns = backend_->phase_ns(Phase::kGate);
  batch->step_ns = backend_->phase_ns(Phase::kStep);
}

}  // namespace seer
