// A model on one rank: configuration, backend, gates, weights, cache and decoder, put together in one way on
// every rank.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/config.h"
#include "models/decoder.h"
#include "models/gate_weights.h"
#include "models/kv_cache.h"
#include "models/shard.h"
#include "models/weights.h"

namespace seer {

// Where a model comes from: folders of a checkpoint and of its gates, or a config.json whose shape gets
// random weights (and random gates if it has seerattn_* keys).
struct ModelFiles {
  std::string model_dir, gates_dir;
  std::string random_config;  // not empty: instead of the folders
  uint64_t random_seed = 0;

  bool random() const { return !random_config.empty(); }
};

// Steps in this order: the constructor, open(), check(), load(), allocate(). One thread at a time.
class Model {
 public:
  // Reads config.json. Throws Error{kFile} or Error{kUnsupported}, as all that follow do for their files.
  explicit Model(ModelFiles files);

  // Takes the backend, and the gates of the shard's heads.
  void open(std::unique_ptr<Backend> backend, const Shard& shard);
  // Throws Error{kUnsupported} if the backend cannot run this model with such pages and contexts.
  void check(int64_t page_tokens, int64_t n_blocks) const;
  void load(const ModelWeights::Progress& on_progress);
  // Cache and decoder. `comm` is null if there is one rank, and outlives every step. Throws Error{kMemory}.
  void allocate(const StepLimits& limits, int64_t n_pages, Communicator* comm);

  const ModelFiles& files() const { return files_; }
  const ModelConfig& config() const { return config_; }
  Backend& backend() const { return *backend_; }
  const Shard& shard() const { return *shard_; }
  const GateWeights* gates() const { return gates_ ? &*gates_ : nullptr; }  // null: none
  const GateConfig* gate_config() const { return gates_ ? &gates_->config : nullptr; }
  const ModelWeights& weights() const { return weights_; }
  const KvCache& cache() const { return *cache_; }
  Decoder& decoder() const { return *decoder_; }

  // Bytes of one page in all layers, and of everything that grows with the steps.
  int64_t page_bytes(int64_t page_tokens) const;
  int64_t activation_bytes(const StepLimits& limits) const;

 private:
  ModelFiles files_;
  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  std::optional<Shard> shard_;
  std::optional<GateWeights> gates_;
  ModelWeights weights_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace seer
