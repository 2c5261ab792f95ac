#include "seer/engine.h"

#include <charconv>
#include <filesystem>

#include "engine/src/engine_impl.h"
#include "engine/src/select_rule.h"
#include "engine/src/tokenizer_impl.h"
#include "models/rope.h"

namespace seer {
namespace {

constexpr uint64_t kRandomSeed = 20260101;  // of random weights: the same model on every device

[[noreturn]] void refuse_device(const std::string& device) {
  throw Error(ErrorKind::kUsage, "expected device auto, cpu, cuda or cuda:N, found '" + device + "'");
}

// The N of "cuda:N"; "cuda" is cuda:0.
int cuda_index(const std::string& device) {
  constexpr std::string_view kPrefix = "cuda:";
  if (device == "cuda") return 0;
  if (!device.starts_with(kPrefix)) refuse_device(device);
  int index = 0;
  const char *begin = device.data() + kPrefix.size(), *end = device.data() + device.size();
  const auto [stopped, error] = std::from_chars(begin, end, index);
  if (error != std::errc() || stopped != end || index < 0) refuse_device(device);
  return index;
}

// A GPU that was asked for by name: where it cannot be used, the CPU is the user's choice, not ours.
std::unique_ptr<Backend> open_cuda(const std::string& device) {
  const int index = cuda_index(device);
  try {
    return make_cuda_backend(index);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kDevice) throw;
    throw Error(ErrorKind::kDevice, "device '" + device + "' cannot be used: " + error.what() +
                                        ". Choose another, or run on the CPU with --device cpu.");
  }
}

SamplingParams sampling_of(const GenerationConfig& g) {
  SamplingParams params;
  if (g.temperature) params.temperature = *g.temperature;
  if (g.top_p) params.top_p = *g.top_p;
  if (g.top_k) params.top_k = *g.top_k;
  if (g.min_p) params.min_p = *g.min_p;
  if (g.repetition_penalty) params.repeat_penalty = *g.repetition_penalty;
  if (g.do_sample && !*g.do_sample) params.temperature = 0.0;
  return params;
}

}  // namespace

std::shared_ptr<Engine> Engine::load(const EngineOptions& options) {
  return std::make_shared<EngineImpl>(options);
}

EngineImpl::EngineImpl(const EngineOptions& options)
    : options_(options),
      config_(options.random_config.empty() ? ModelConfig::load(options.model_dir)
                                            : ModelConfig::load_file(options.random_config)),
      generation_(options.random_config.empty() ? GenerationConfig::load(options.model_dir)
                                                : GenerationConfig{}),
      ranks_(options.ranks),
      shard_(config_, 0, options.rank_split == RankSplit::kTensor ? ranks_.size() : 1) {
  if (options.rank_split == RankSplit::kContext) layout_.n_owners = ranks_.size();
  if (options.random_config.empty()) load_tokenizer_files();
  open_backend();
  load_gates();
  size_steps();
  load_weights();
  size_cache();
  pages_ =
      std::make_unique<PrefixCache>(info_.n_pages, info_.page_tokens, info_.prefix_cache, nullptr, layout_);
  ranks_.allocate(limits_, pages_of_rank());
  cache_ = std::make_unique<KvCache>(backend_.get(), shard_.local, gate_config(), info_.page_tokens,
                                     pages_of_rank());
  info_.kv_bytes = cache_->nbytes();
  info_.n_ranks = ranks_.size();
  info_.rank_split = options_.rank_split;
  decoder_ = std::make_unique<Decoder>(backend_.get(), shard_, weights_, gates_ ? &*gates_ : nullptr,
                                       cache_.get(), limits_, ranks_.comm());
  ranks_.allocated();
  describe_model();
  runner_ = std::make_unique<ModelRunner>(backend_.get(), decoder_.get());
  scheduler_ = std::make_unique<Scheduler>(
      runner_.get(), pages_.get(),
      SchedulerLimits{info_.page_tokens, info_.chunk_size, info_.mixed_chunk_size, info_.max_batch_size});
}

void EngineImpl::open_backend() {
  const std::string& device = options_.device;
  if (device.starts_with("cuda")) {
    backend_ = open_cuda(device);
  } else if (device != "auto" && device != "cpu") {
    refuse_device(device);
  }
  if (device == "auto" && built_with_cuda()) {
    try {
      backend_ = make_cuda_backend(0);
    } catch (const Error& error) {
      log(LogLevel::kWarning, std::string("running on the CPU: ") + error.what());
    }
  }
  if (!backend_) backend_ = make_cpu_backend(ranks_.threads(options_.threads));
  info_.device = backend_->description();
  if (ranks_.size() > 1) info_.device += ", " + std::to_string(ranks_.size()) + " ranks";
  if (divided()) info_.device += " that divide prompts";
}

void EngineImpl::load_gates() {
  if (!options_.random_config.empty()) {
    gates_ = GateWeights::random(options_.random_config, config_, kRandomSeed);
  } else if (!options_.gates_dir.empty()) {
    gates_ = GateWeights::load(options_.gates_dir, config_);
  }
  if (gates_) gates_->keep(shard_);
}

void EngineImpl::load_weights() {
  const std::string device = !backend_->memory()         ? "cpu"
                             : options_.device == "auto" ? "cuda"
                                                         : options_.device;
  ranks_.load({options_.model_dir, options_.gates_dir, options_.random_config, device, options_.threads,
               info_.page_tokens, info_.n_pages, options_.gpu_memory_utilization, kRandomSeed, 0,
               options_.rank_split},
              backend_.get());
  if (options_.random_config.empty()) {
    weights_ = LlamaWeights::load(options_.model_dir, config_, shard_, backend_.get(),
                                  [&](int64_t done, int64_t total) {
                                    ranks_.check();
                                    return !options_.on_load || options_.on_load({total, done});
                                  });
  } else {
    weights_ = LlamaWeights::random(config_, shard_, backend_.get(), kRandomSeed);
  }
  ranks_.loaded();
}

void EngineImpl::load_tokenizer_files() {
  const std::filesystem::path dir = options_.model_dir;
  for (const char* name : {"tokenizer.json", "tokenizer.model"})
    if (std::filesystem::exists(dir / name)) {
      tokenizer_ = Tokenizer::load(options_.model_dir);
      return;
    }
}

void EngineImpl::describe_model() {
  ModelInfo& m = model_info_;
  m.architecture = config_.architecture;
  m.dtype = weights_.dtype;
  m.rope = rope_description(config_.rope);
  m.n_layers = config_.n_layers;
  m.n_heads = config_.n_heads;
  m.n_kv_heads = config_.n_kv_heads;
  m.d_head = config_.d_head;
  m.d_model = config_.d_model;
  m.d_ff = config_.d_ff;
  m.n_vocab = config_.n_vocab;
  m.max_positions = config_.max_positions;
  m.rope_theta = config_.rope.theta;
  m.rms_norm_eps = config_.rms_norm_eps;
  m.tied_embeddings = config_.tied_embeddings;
  m.n_params = weights_.n_params;
  m.n_bytes = weights_.n_bytes;
  m.eos_ids = generation_.eos_ids.empty() ? config_.eos_ids : generation_.eos_ids;
  if (m.eos_ids.empty() && tokenizer_ && tokenizer_->eos_id() >= 0) m.eos_ids = {tokenizer_->eos_id()};
  m.default_sampling = sampling_of(generation_);
  m.default_sampling.validate();
  if (!gates_) return;

  const GateConfig& gate = gates_->config;
  GateInfo g;
  g.source = gates_->tensors.source();
  g.gate_type = gate.gate_type;
  g.gate_block = gate.gate_block;
  g.d_gate = gate.d_gate;
  g.double_linear = gate.double_linear;
  g.last_block_dense = gate.rule.last_block_dense;
  g.default_rule = sparse_rule(gate.rule);
  for (const auto& [name, tensor] : gates_->tensors.all()) g.n_params += tensor.numel();
  m.gates = g;
  if (gate.untuned)
    log(LogLevel::kWarning,
        "the gates' config.json says seerattn_threshold 0.0, which means it was never tuned; " +
            g.default_rule.to_string() + " is used instead");
}

void EngineImpl::log(LogLevel level, const std::string& message) const {
  if (options_.on_log) options_.on_log(level, message);
}

const Tokenizer& EngineImpl::tokenizer() const {
  if (tokenizer_) return *tokenizer_;
  throw Error(ErrorKind::kFile,
              options_.model_dir +
                  " has no tokenizer: expected tokenizer.json or tokenizer.model. Text needs one; "
                  "token ids can be used without.");
}

const TextTokenizer* EngineImpl::text_tokenizer() const {
  return tokenizer_ ? tokenizer_->impl().tokenizer.get() : nullptr;
}

}  // namespace seer
