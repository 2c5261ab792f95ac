// Attention of a step's tokens over the pages of their sequences, and the gates that choose pages for it.
// There are two kinds: over whole pages (whole_attention.cc), and over pages that are divided among ranks
// (divided_attention.cc).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/attn_gate.h"
#include "models/context_parallel.h"
#include "models/decode_gate.h"
#include "models/decoder_step.h"
#include "models/gates.h"
#include "models/kv_cache.h"
#include "models/rope_tables.h"
#include "models/weights.h"
#include "models/workspace.h"

namespace seer {

// The objects that attention uses and does not own. All must outlive it.
struct AttentionContext {
  Backend* backend;
  Communicator* comm;
  const ModelConfig& config;  // of this rank
  const ModelWeights& weights;
  GateSet gates;
  KvCache* cache;
  Workspace* workspace;
  const RopeTables* rope;
  StepLimits limits;
};

// One thread at a time. Every rank must make the same calls in the same order.
class Attention {
 public:
  virtual ~Attention() = default;

  // Begins a step, and returns the part of it that this rank computes. The returned part is valid until the
  // next call of begin(), and `step` itself must live until then.
  virtual const DecoderStep& begin(const DecoderStep& step) = 0;
  // Computes the attention of layer `l`: reads workspace.qkv, writes workspace.attn, and puts new keys and
  // values into their pages. Rows of workspace.attn that nothing reads may be left out. Reports the choices
  // of the gates on rank 0.
  virtual void run(int64_t l) = 0;
  // Returns how many blocks each of the step's prefill segments kept and, if gates choose for any decode, how
  // many each of the decodes kept, after the segments. This rank counts alone: the sum over ranks is the
  // whole count. Waits until the device has finished the step.
  virtual std::vector<DecoderStats> count() = 0;

 protected:
  Attention(const AttentionContext& context, Communicator* gate_comm);

  int64_t n_block_rows(const Segment& segment) const {
    return blocks_of(segment.n_tokens, c_.limits.page_tokens);
  }
  // Returns the first of a segment's tokens whose output of layer `l` is read later, rounded down to a page
  // boundary; n_tokens if none is read. After the last layer, only rows whose logits are wanted are read.
  int64_t first_token_read(int64_t l, const Segment& segment, std::span<const int64_t> logit_rows) const;
  // Computes the attention of a prefill segment, unless nothing reads it. `mask` is null if the segment is
  // dense.
  void attend_prefill(int64_t l, const PagedKv& kv, const Segment& segment, const BlockMask* mask,
                      const DecoderStep& step);
  // Returns the causal and the kept blocks of a segment, over all layers and this rank's heads. first_row is
  // the segment's first block row in the step.
  DecoderStats count_segment(const Segment& segment, bool sparse, int64_t first_row) const;
  // Appends an element for each decode: how many blocks it kept, over this rank's heads in the layers in
  // which gates choose.
  void count_decodes(std::span<const Segment> decodes, std::vector<DecoderStats>* stats) const;
  // Returns the norms that layer `l` applies to query and key heads before pooling and RoPE. They are empty
  // in most families.
  HeadNorms head_norms(int64_t l) const {
    const LayerWeights& layer = c_.weights.layers[static_cast<size_t>(l)];
    return {layer.query_norm, layer.key_norm, c_.config.rms_norm_eps};
  }
  // Return the workspace's rows of the step's first n tokens.
  Tensor qkv(int64_t n) const { return c_.workspace->qkv.rows(0, n); }
  Tensor q(int64_t n) const { return c_.workspace->q.rows(0, n); }
  Tensor out(int64_t n) const { return c_.workspace->attn.rows(0, n); }

  AttentionContext c_;
  std::unique_ptr<AttnGate> gate_;           // null if the model has no gates for prompts
  std::unique_ptr<DecodeGate> decode_gate_;  // null if it has none for decoding
};

// Makes another kind of attention for a Decoder.
using AttentionMaker = std::function<std::unique_ptr<Attention>(const AttentionContext& context)>;

// Makes the kind of attention that the ranks need. `ranks` is null unless ranks divide prompts by their
// tokens; it must outlive the result.
std::unique_ptr<Attention> make_attention(const AttentionContext& context, ContextParallel* ranks);

}  // namespace seer
