// The forward pass of a decoder: embedding, layers, logits. Written once for every backend and for any number
// of ranks.
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
#include "models/kv_cache.h"
#include "models/residual.h"
#include "models/rope_tables.h"
#include "models/shard.h"
#include "models/vocabulary.h"
#include "models/weights.h"
#include "models/workspace.h"

namespace seer {

class ReceivedStep;

// One thread at a time. Holds references: weights, cache, backend and communicator outlive it.
//
// With several ranks each has a Decoder: with its shard of weights, gates and cache (tensor parallelism); or,
// if the shard is the whole model, with a part of the pages (context parallelism). forward() on rank 0 tells
// the others the step, which they compute in follow(); logits, gate reports and statistics come together on
// rank 0, whose callbacks are called as if it were alone.
class Decoder {
 public:
  static constexpr uint32_t kStepMessage = 1;

  // `gates` is null for a model without; `comm` if there is one rank. Throws Error{kMemory}.
  Decoder(Backend* backend, const Shard& shard, const ModelWeights& weights, const GateWeights* gates,
          KvCache* cache, const StepLimits& limits, Communicator* comm);
  Decoder(Backend* backend, const ModelConfig& config, const ModelWeights& weights, const GateWeights* gates,
          KvCache* cache, const StepLimits& limits)
      : Decoder(backend, Shard(config), weights, gates, cache, limits, nullptr) {}
  ~Decoder();

  // On rank 0. An exception of a callback passes through, and the ranks stay in step; any other exception
  // ends the communicator on every rank, and the Decoder can do nothing more. Returns the sum over the step's
  // prefill segments.
  DecoderStats forward(const DecoderStep& in);
  // On the other ranks: the step of a message of kStepMessage.
  void follow(const Message& message);

 private:
  struct Deferred;
  DecoderStats run(const DecoderStep& in, Deferred* deferred);
  // All layers: the residual stream ends with the rows whose logits are wanted, or with none.
  void layers(const DecoderStep& in);
  void mlp(const LayerWeights& layer, ResidualStream::RowRange* range);
  void logits(const DecoderStep& in, Deferred* deferred);
  DecoderStats sum_over_ranks(const DecoderStep& in, std::vector<DecoderStats> segments);
  // The key under which run_step may record the step.
  int64_t record_key(const DecoderStep& in) const;

  Backend* backend_;
  std::unique_ptr<Communicator> alone_;  // if none was given
  Communicator* comm_;
  const Shard shard_;
  const ModelConfig& config_;  // of this rank
  const ModelWeights& weights_;
  StepLimits limits_;
  Workspace workspace_;
  RopeTables rope_;
  std::unique_ptr<ContextParallel> context_;  // null unless ranks divide prompts
  ResidualStream stream_;
  Vocabulary vocabulary_;
  std::unique_ptr<Attention> attention_;
  std::unique_ptr<ReceivedStep> received_;
  std::vector<std::byte> packed_;  // the step on its way
};

}  // namespace seer
