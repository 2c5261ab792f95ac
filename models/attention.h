// Attention of a step's tokens over the pages of their sequences, and the gates that choose pages for it:
// over whole pages (whole_attention.cc), and over pages that are divided among ranks
// (divided_attention.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/attn_gate.h"
#include "models/context_parallel.h"
#include "models/decoder_step.h"
#include "models/kv_cache.h"
#include "models/rope_tables.h"
#include "models/weights.h"
#include "models/workspace.h"

namespace seer {

// Everything that attention uses and does not own.
struct AttentionContext {
  Backend* backend;
  Communicator* comm;
  const ModelConfig& config;  // of this rank
  const ModelWeights& weights;
  const GateWeights* gates;  // null for a model without
  KvCache* cache;
  Workspace* workspace;
  const RopeTables* rope;
  StepLimits limits;
};

// One thread at a time; every rank makes the same calls.
class Attention {
 public:
  virtual ~Attention() = default;

  // Takes a step and returns the part of it that this rank computes. Both are valid until the next call.
  virtual const DecoderStep& begin(const DecoderStep& step) = 0;
  // Layer `l`, from workspace.qkv to workspace.attn. New keys and values go to their pages. Rows that nobody
  // reads may be left out. Choices of gates are reported on rank 0.
  virtual void run(int64_t l) = 0;
  // What each of the step's prefill segments kept, counted by this rank alone: the sum over ranks is the
  // whole. Waits for the step.
  virtual std::vector<DecoderStats> count() = 0;

 protected:
  Attention(const AttentionContext& context, Communicator* gate_comm);

  int64_t n_block_rows(const Segment& segment) const {
    return blocks_of(segment.n_tokens, c_.limits.page_tokens);
  }
  // The first of a segment's tokens from which on someone reads the output of layer `l`; n_tokens if nobody
  // does. After the last layer only rows whose logits are wanted go on.
  int64_t first_token_read(int64_t l, const Segment& segment, std::span<const int64_t> logit_rows) const;
  // Attention of a prefill segment, unless nobody reads it. `mask` is null if it is dense.
  void attend_prefill(int64_t l, const PagedKv& kv, const Segment& segment, const BlockMask* mask,
                      const DecoderStep& step);
  DecoderStats count_segment(const Segment& segment, bool sparse, int64_t first_row) const;
  // The norms of layer `l` that queries and keys get before pooling and RoPE; empty in most families.
  HeadNorms head_norms(int64_t l) const {
    const LayerWeights& layer = c_.weights.layers[static_cast<size_t>(l)];
    return {layer.query_norm, layer.key_norm, c_.config.rms_norm_eps};
  }
  // Tensors of the step's first n tokens.
  Tensor qkv(int64_t n) const { return c_.workspace->qkv.rows(0, n); }
  Tensor q(int64_t n) const { return c_.workspace->q.rows(0, n); }
  Tensor out(int64_t n) const { return c_.workspace->attn.rows(0, n); }

  AttentionContext c_;
  std::unique_ptr<AttnGate> gate_;  // null for a model without
};

// `ranks` is null unless ranks divide prompts by their tokens; it outlives the result.
std::unique_ptr<Attention> make_attention(const AttentionContext& context, ContextParallel* ranks);

}  // namespace seer
