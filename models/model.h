// A model on one rank: its configuration, backend, gates, weights, cache and decoder. Every rank puts them
// together in the same way.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/comm/communicator.h"
#include "models/config.h"
#include "models/decoder.h"
#include "models/gates.h"
#include "models/kv_cache.h"
#include "models/shard.h"
#include "models/weights.h"

namespace seer {

// Says where a model comes from: either from the folders of a checkpoint and of its gates, or from a
// config.json that gives the shape of random weights (and of random gates, if it has seerattn_* keys).
struct ModelFiles {
  std::string model_dir;
  std::string gates_dir, more_gates_dir;  // empty if there are none: see Gates::load()
  std::string random_config;  // path of a config.json; if not empty, it is used instead of the folders
  uint64_t random_seed = 0;
  WeightFormat weights = WeightFormat::kStored;  // to which matrices of layers are brought

  bool random() const { return !random_config.empty(); }
};

// Call in this order: the constructor, open(), check(), load(), allocate(). One thread at a time.
class Model {
 public:
  // Reads config.json. Throws Error{kFile} or Error{kUnsupported} if the file cannot be used; open() and
  // load() throw the same for their files.
  explicit Model(ModelFiles files);

  // Keeps the backend, and reads or makes the gates of the shard's heads. kv_dtype is the type of keys and
  // values in pages, one of the backend's kv_dtypes(). Throws Error{kUnsupported} for a quantised config.json
  // of random weights, and the errors of check_format().
  void open(std::unique_ptr<Backend> backend, const Shard& shard, DType kv_dtype);
  // Throws Error{kUnsupported} if the backend cannot run this model with pages of page_tokens tokens and
  // contexts of n_blocks pages.
  void check(int64_t page_tokens, int64_t n_blocks) const;
  // Loads or makes the shard's weights, and throws as ModelWeights::load() or random() does.
  void load(const ModelWeights::Progress& on_progress);
  // Makes the cache and the decoder. `comm` may be null if there is one rank; otherwise it must outlive the
  // decoder. Throws Error{kMemory}.
  void allocate(const StepLimits& limits, int64_t n_pages, Communicator* comm);

  const ModelFiles& files() const { return files_; }
  const ModelConfig& config() const { return config_; }
  Backend& backend() const { return *backend_; }
  const Shard& shard() const { return *shard_; }
  const Gates& gates() const { return gates_; }
  const ModelWeights& weights() const { return weights_; }
  DType kv_dtype() const { return kv_dtype_; }
  const KvCache& cache() const { return *cache_; }
  Decoder& decoder() const { return *decoder_; }

  // Returns the bytes that one page takes in all layers.
  int64_t page_bytes(int64_t page_tokens) const;
  // Returns the bytes of the memory that steps of these limits work in.
  int64_t activation_bytes(const StepLimits& limits) const;

 private:
  ModelFiles files_;
  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  DType kv_dtype_ = DType::kF32;
  std::optional<Shard> shard_;
  Gates gates_;
  ModelWeights weights_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace seer
