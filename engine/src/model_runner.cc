#include "engine/src/model_runner.h"

namespace seer {

void ModelRunner::run(Batch* batch) {
  batch->chosen.assign(batch->logit_rows.size(), -1);
  batch->blocks.assign(batch->prefills.size(), {});
  batch->decode_blocks.assign(batch->decodes.size(), {});
  DecoderStep in;
  in.ids = batch->ids;
  in.step = {batch->n_tokens(), batch->prefills, batch->decodes};
  in.plans = batch->plans;
  in.logit_rows = batch->logit_rows;
  in.segment_stats = batch->blocks;
  in.decode_rules = batch->decode_rules;
  in.decode_stats = batch->decode_blocks;
  in.on_logits = [this, batch](int64_t first, const Tensor& logits) {
    use_logits(batch, static_cast<size_t>(first), logits);
    return true;
  };
  if (!batch->arrivals.empty()) in.before_attention = [batch](int64_t l) { batch->wait_for_layer(l); };
  host_rows_.begin(batch);
  backend_->reset_phases();
  decoder_->forward(in);
  batch->attention_ns = backend_->phase_ns(Phase::kAttention);
  batch->gate_ns = backend_->phase_ns(Phase::kGate);
  batch->step_ns = backend_->phase_ns(Phase::kStep);
  host_rows_.finish();
}

void ModelRunner::use_logits(Batch* batch, size_t first, const Tensor& logits) {
  host_rows_.read(first, logits);  // it comes before sampling, which may change the logits
  const size_t end = first + static_cast<size_t>(logits.dim(0));
  for (size_t row = first; row < end;) {
    size_t next = row;
    while (next < end && !host_rows_.chooses(next)) ++next;
    if (next > row)
      backend_->sample(std::span(batch->chosen).subspan(row, next - row),
                       logits.rows(static_cast<int64_t>(row - first), static_cast<int64_t>(next - row)),
                       std::span(batch->samples).subspan(row, next - row));
    row = next + 1;
  }
}

}  // namespace seer
