#include "models/model.h"

#include <utility>

#include "models/weight_format.h"
#include "seer/error.h"

namespace seer {

Model::Model(ModelFiles files)
    : files_(std::move(files)),
      config_(files_.random() ? ModelConfig::load_file(files_.random_config)
                              : ModelConfig::load(files_.model_dir)) {
  if (!files_.random()) find_vocabulary(files_.model_dir, &config_);
}

void Model::open(std::unique_ptr<Backend> backend, const Shard& shard, DType kv_dtype) {
  backend_ = std::move(backend);
  kv_dtype_ = kv_dtype;
  shard_.emplace(shard);
  if (config_.quant && files_.random())
    throw Error(ErrorKind::kUnsupported,
                files_.random_config +
                    ": random weights are made in BF16: expected no quantization_config, "
                    "found " +
                    config_.quant->method + ". Remove the key.");
  check_format(files_.weights, config_, *shard_, files_.random() ? files_.random_config : files_.model_dir);
  if (files_.random()) {
    gates_ = Gates::random(files_.random_config, config_, files_.random_seed);
  } else {
    std::vector<std::string> dirs;
    for (const std::string& dir : {files_.gates_dir, files_.more_gates_dir})
      if (!dir.empty()) dirs.push_back(dir);
    gates_ = Gates::load(dirs, config_);
  }
  gates_.keep(*shard_);
}

void Model::check(int64_t page_tokens, int64_t n_blocks) const {
  ModelShape shape;
  shape.d_model = config_.d_model;
  shape.d_ff = shard_->local.d_ff;
  shape.d_head = config_.d_head;
  shape.n_vocab = shard_->n_ids();
  const GateConfigs gates = gates_.configs();
  shape.d_gate = gates.prefill == nullptr ? 0 : gates.prefill->d_gate;
  shape.group = config_.n_heads / config_.n_kv_heads;
  shape.d_decode_gate = gates.decode == nullptr ? 0 : gates.decode->d_gate;
  shape.page_tokens = page_tokens;
  shape.n_blocks = n_blocks;
  backend_->check_model(shape);
}

void Model::load(const ModelWeights::Progress& on_progress) {
  weights_ = files_.random() ? ModelWeights::random(config_, *shard_, backend_.get(), files_.random_seed,
                                                    on_progress, files_.weights)
                             : ModelWeights::load(files_.model_dir, config_, *shard_, backend_.get(),
                                                  on_progress, files_.weights);
}

void Model::allocate(const StepLimits& limits, int64_t n_pages, Communicator* comm) {
  cache_ = std::make_unique<KvCache>(backend_.get(), shard_->local, gates_.configs(), limits.page_tokens,
                                     n_pages, kv_dtype_);
  decoder_ =
      std::make_unique<Decoder>(backend_.get(), *shard_, weights_, gates_.set(), cache_.get(), limits, comm);
}

int64_t Model::page_bytes(int64_t page_tokens) const {
  return KvCache::page_bytes(*backend_, shard_->local, gates_.configs(), page_tokens, kv_dtype_);
}

int64_t Model::activation_bytes(const StepLimits& limits) const {
  return Workspace::arena_bytes(*backend_, *shard_, gates_.configs(), limits) + backend_->step_bytes(limits);
}

}  // namespace seer
