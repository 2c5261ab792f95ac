// The forward pass of a decoder: embedding, layers, logits. It is written once for every backend and for any
// number of ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "kernels/comm/message.h"
#include "models/attention.h"
#include "models/config.h"
#include "models/context_parallel.h"
#include "models/decoder_step.h"
#include "models/gates.h"
#include "models/kv_cache.h"
#include "models/residual.h"
#include "models/rope_tables.h"
#include "models/shard.h"
#include "models/vocabulary.h"
#include "models/weights.h"
#include "models/workspace.h"

namespace seer {

class ReceivedStep;

// One thread at a time. The decoder holds references: weights, gates, cache, backend and communicator must
// outlive it.
//
// If there are several ranks, each has a Decoder. Either it has its shard of weights, gates and cache (tensor
// parallelism), or its shard is the whole model and it has a part of the pages (context parallelism).
// forward() on rank 0 sends the step to the other ranks, which compute it in follow(). Logits, gate reports
// and statistics come together on rank 0, and its callbacks are called as if it were alone.
class Decoder {
 public:
  static constexpr uint32_t kStepMessage = 1;

  // `comm` may be null if there is one rank. If `make` is given, it makes the attention of all layers in
  // place of make_attention(). Throws Error{kMemory}.
  Decoder(Backend* backend, const Shard& shard, const ModelWeights& weights, const GateSet& gates,
          KvCache* cache, const StepLimits& limits, Communicator* comm, const AttentionMaker& make = {});
  Decoder(Backend* backend, const ModelConfig& config, const ModelWeights& weights, const GateSet& gates,
          KvCache* cache, const StepLimits& limits)
      : Decoder(backend, Shard(config), weights, gates, cache, limits, nullptr) {}
  ~Decoder();

  // Computes a step, and returns the sum of the statistics of its prefill segments. Must be called on rank 0
  // only. An exception of a callback is passed on; if there are several ranks, this happens after they have
  // finished the step, so that they stay together. If there are several ranks, any other exception aborts the
  // communicator on every rank, and the Decoder cannot be used again.
  DecoderStats forward(const DecoderStep& in);
  // Computes the step that a message of kStepMessage holds. Must be called on the other ranks, once for each
  // forward().
  void follow(const Message& message);

 private:
  struct Deferred;
  DecoderStats run(const DecoderStep& in, Deferred* deferred);
  // Runs all layers. Afterwards the residual stream has the rows whose logits are wanted; its contents are
  // undefined if none are.
  void layers(const DecoderStep& in);
  void mlp(const LayerWeights& layer, ResidualStream::RowRange* range);
  void logits(const DecoderStep& in, Deferred* deferred);
  DecoderStats sum_over_ranks(const DecoderStep& in, std::vector<DecoderStats> segments);
  // Returns the key under which Backend::run_step() may record the step, or 0 if it must not.
  int64_t record_key(const DecoderStep& in) const;

  Backend* backend_;
  std::unique_ptr<Communicator> alone_;  // null if a communicator was given
  Communicator* comm_;
  const Shard shard_;
  const ModelConfig& config_;  // of this rank
  const ModelWeights& weights_;
  StepLimits limits_;
  const bool has_decode_gates_;
  Workspace workspace_;
  RopeTables rope_;
  std::unique_ptr<ContextParallel> context_;  // null unless ranks divide prompts
  ResidualStream stream_;
  Vocabulary vocabulary_;
  std::unique_ptr<Attention> attention_;
  std::unique_ptr<ReceivedStep> received_;
  std::vector<std::byte> packed_;  // the bytes of the step that forward() sends
};

}  // namespace seer
