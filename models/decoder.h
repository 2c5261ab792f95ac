// The forward pass of a Llama decoder, written once for every backend.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "models/attn_gate.h"
#include "models/config.h"
#include "models/kv_cache.h"
#include "models/llama.h"
#include "models/rope.h"
#include "models/workspace.h"

namespace seer {

// What prefill segments kept, summed over layers and heads.
struct DecoderStats {
  int64_t kept_blocks = 0;
  int64_t causal_blocks = 0;
};

// One step's input. Prefill segments come first; each starts on a page boundary.
struct DecoderStep : StepInput {
  std::span<const PrefillPlan> plans;  // one for each of step.prefills
  // Logits f32 [n, n_vocab] on the device, of logit_rows[first] and those after it; false leaves the rest
  // out.
  std::function<bool(int64_t first, const Tensor& logits)> on_logits;
  GateObserver on_gate;
  std::span<DecoderStats> segment_stats;  // written, one for each of step.prefills; may be empty
};

// One thread at a time. Holds references: weights, cache and backend outlive it.
class Decoder {
 public:
  // `gates` is null for a model without. Throws Error{kMemory}.
  Decoder(Backend* backend, const ModelConfig& config, const LlamaWeights& weights, const GateWeights* gates,
          KvCache* cache, const StepLimits& limits);

  // Returns the sum over the step's prefill segments.
  DecoderStats forward(const DecoderStep& in);

 private:
  struct Stream {
    Tensor x;  // [n_tokens, d_model]: the residual stream
    Tensor h;  // as x: free
  };
  // All layers. The residual stream ends in workspace_.x, or, where only some rows are wanted, in
  // workspace_.h.
  void transform(const DecoderStep& in);
  void prepare_rope(const DecoderStep& in);
  // What run_step may record the step under.
  int64_t record_key(const DecoderStep& in) const;
  // Attention of layer `l`; the result is in workspace_.attn. Rows nobody needs may be left out.
  void attention(int64_t l, const Stream& stream, const DecoderStep& in);
  void mlp(const LayerWeights& layer, const Stream& stream);
  void logits(const DecoderStep& in);
  DecoderStats count_blocks(const DecoderStep& in);
  RopeFrequencies frequencies(int64_t seq_len) const;
  int64_t n_block_rows(const Segment& segment) const;

  Backend* backend_;
  const ModelConfig& config_;
  const LlamaWeights& weights_;
  KvCache* cache_;
  StepLimits limits_;
  Workspace workspace_;
  std::unique_ptr<AttnGate> gate_;
  RopeFrequencies fixed_frequencies_;
};

}  // namespace seer
