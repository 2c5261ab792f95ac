// The forward pass of a Llama decoder, written once for every backend and for any number of ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "kernels/comm/message.h"
#include "models/attn_gate.h"
#include "models/config.h"
#include "models/context_parallel.h"
#include "models/decoder_step.h"
#include "models/kv_cache.h"
#include "models/llama.h"
#include "models/rope.h"
#include "models/shard.h"
#include "models/workspace.h"

namespace seer {

class ReceivedStep;

// One thread at a time. Holds references: weights, cache, backend and communicator outlive it.
//
// With several ranks each has a Decoder: with its shard of weights, gates and cache (tensor parallelism); or,
// where the shard is the whole model, with a part of the pages (ContextParallel, which says whose). forward()
// on rank 0 tells the others the step, which they compute in follow(); logits, gate reports and statistics
// come together on rank 0, whose callbacks are called as if it were alone.
class Decoder {
 public:
  static constexpr uint32_t kStepMessage = 1;

  // `gates` is null for a model without; `comm` where there is one rank. Throws Error{kMemory}.
  Decoder(Backend* backend, const Shard& shard, const LlamaWeights& weights, const GateWeights* gates,
          KvCache* cache, const StepLimits& limits, Communicator* comm);
  Decoder(Backend* backend, const ModelConfig& config, const LlamaWeights& weights, const GateWeights* gates,
          KvCache* cache, const StepLimits& limits)
      : Decoder(backend, Shard(config), weights, gates, cache, limits, nullptr) {}
  ~Decoder();

  // On rank 0. What callbacks throw passes through, and the ranks stay in step; any other exception ends the
  // communicator on every rank, and with it what the Decoder can do. Returns the sum over the step's prefill
  // segments.
  DecoderStats forward(const DecoderStep& in);
  // On the other ranks: the step of a message of kStepMessage.
  void follow(const Message& message);

 private:
  // Rows of a step whose sums over ranks run beside the products of other rows.
  struct Part {
    int64_t row, n;
    std::optional<int> sum;  // under way
  };
  struct Stream {
    Tensor x;  // [n_tokens, d_model]: the residual stream
    Tensor h;  // as x: free
    std::vector<Part> parts;
  };
  struct Deferred;
  DecoderStats run(const DecoderStep& in, Deferred* deferred);
  std::vector<Part> parts(int64_t n_rows) const;
  // x += in W^T, of which every rank has the columns of its heads or of its part of d_ff: begins, for a
  // part's rows of x and of `in`. Behind finish() the stream's rows are right.
  void add_linear(const Stream& stream, Part* part, const Tensor& in, const LinearWeights& w);
  void finish(Part* part);
  // All layers. The residual stream ends in workspace_.x, or, where only some rows are wanted, in
  // workspace_.h.
  void transform(const DecoderStep& in, const GateObserver& observer);
  void prepare_rope(const DecoderStep& in);
  // What run_step may record the step under.
  int64_t record_key(const DecoderStep& in) const;
  // Attention of layer `l` over workspace_.qkv; the result is in workspace_.attn. Rows nobody needs may be
  // left out.
  void attention(int64_t l, const DecoderStep& in);
  // From which of a segment's tokens on someone reads what layer `l` attends to; n_tokens: nobody does.
  int64_t first_token_read(int64_t l, const Segment& segment, std::span<const int64_t> logit_rows) const;
  RopeTable block_rope(int64_t first_row, int64_t n_rows) const;
  void mlp(const LayerWeights& layer, const Stream& stream, Part* part);
  void logits(const DecoderStep& step, const DecoderStep& in, Deferred* deferred);
  // Of all ids, on rank 0, from what each rank has of `x`'s rows.
  void project_to_vocabulary(const Tensor& x, const Tensor& h);
  // decoder_divided.cc: the same where prompts are divided among ranks. `in` is this rank's part of a step.
  void attention_divided(int64_t l, const DecoderStep& in, const GateObserver& observer);
  void attend_divided_prefill(int64_t l, const DecoderStep& in, ContextParallel::Sequence* s,
                              const GateObserver& observer);
  void attend_divided_decodes(int64_t l, const DecoderStep& in);
  void project_divided(const Tensor& x, const Tensor& free, int64_t first, int64_t n);
  DecoderStats count_divided(const DecoderStep& step);

  DecoderStats count_blocks(const DecoderStep& in);
  DecoderStats count_segment(const Segment& segment, bool sparse, int64_t first_row) const;
  DecoderStats take_stats(const DecoderStep& in, std::vector<DecoderStats> segments);
  RopeFrequencies frequencies(int64_t seq_len) const;
  int64_t n_block_rows(const Segment& segment) const;

  Backend* backend_;
  std::unique_ptr<Communicator> alone_;  // where none was given
  Communicator* comm_;
  const Shard shard_;
  const ModelConfig& config_;  // of this rank
  const LlamaWeights& weights_;
  KvCache* cache_;
  StepLimits limits_;
  Workspace workspace_;
  std::unique_ptr<ContextParallel> context_;  // null: whole prompts
  std::unique_ptr<AttnGate> gate_;
  RopeFrequencies fixed_frequencies_;
  std::unique_ptr<ReceivedStep> received_;
  std::vector<std::byte> packed_;  // the step on its way
};

}  // namespace seer
