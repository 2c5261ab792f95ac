#include "seer/engine.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>

#include "engine/src/engine_impl.h"
#include "engine/src/session_impl.h"
#include "engine/src/tokenizer_impl.h"
#include "models/rope.h"

namespace seer {
namespace {

constexpr int64_t kCpuChunk = 1024;   // tokens: long enough for OpenBLAS's peak, a few MB of activations
constexpr int64_t kGpuChunk = 8192;   // tokens: every product at its peak, and few launches
constexpr int64_t kDefaultPage = 64;  // tokens of a page without gates
constexpr int64_t kLogitRows = 256;   // rows of logits computed at once
constexpr int64_t kGpuReserve = int64_t{512} << 20;  // bytes: modules, recorded steps, the library's own
constexpr uint64_t kRandomSeed = 20260101;           // of random weights: the same model on every device
constexpr int64_t kMaxContext = int64_t{1} << 30;    // tokens; page ids and row counts stay within 32 bits

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

SparseRule rule_of(const GateConfig& gate) {
  if (gate.method == GateConfig::Method::kNzRatio) return {SparseRule::Method::kNzRatio, gate.nz_ratio};
  return {SparseRule::Method::kThreshold, gate.threshold};
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
      shard_(config_, 0, ranks_.size()) {
  if (options.random_config.empty()) load_tokenizer_files();
  open_backend();
  load_gates();
  size_steps();
  load_weights();
  size_cache();
  pages_ = std::make_unique<PageAllocator>(info_.n_pages);
  ranks_.allocate(limits_, info_.n_pages);
  cache_ = std::make_unique<KvCache>(backend_.get(), shard_.local, gate_config(), info_.page_tokens,
                                     info_.n_pages);
  info_.kv_bytes = cache_->nbytes();
  info_.n_ranks = ranks_.size();
  decoder_ = std::make_unique<Decoder>(backend_.get(), shard_, weights_, gates_ ? &*gates_ : nullptr,
                                       cache_.get(), limits_, ranks_.comm());
  ranks_.allocated();
  describe_model();
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
               info_.page_tokens, info_.n_pages, options_.gpu_memory_utilization, kRandomSeed, 0},
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

// Everything that the options decide before memory does.
void EngineImpl::size_steps() {
  const int64_t page = gates_ ? gates_->config.gate_block : kDefaultPage;
  const int64_t ctx = options_.ctx_size == 0 ? config_.max_positions : options_.ctx_size;
  if (ctx < 1 || ctx > kMaxContext)
    throw Error(ErrorKind::kUsage, "expected a context of 1 to " + std::to_string(kMaxContext) +
                                       " tokens, found " + std::to_string(ctx));
  if (ctx > config_.max_positions)
    log(LogLevel::kWarning, "the context of " + std::to_string(ctx) + " tokens is beyond the " +
                                std::to_string(config_.max_positions) + " positions the model was made for");
  const int64_t usual = backend_->memory() ? kGpuChunk : kCpuChunk;
  const int64_t chunk = options_.chunk_size == 0 ? std::max(page, usual / page * page) : options_.chunk_size;
  if (chunk < page || chunk % page != 0)
    throw Error(ErrorKind::kUsage, "expected a chunk size that is a multiple of the gate block of " +
                                       std::to_string(page) + " tokens, found " + std::to_string(chunk));
  if (!(options_.gpu_memory_utilization > 0.0 && options_.gpu_memory_utilization <= 1.0))
    throw Error(ErrorKind::kUsage, "expected a GPU memory utilization above 0 and at most 1, found " +
                                       std::to_string(options_.gpu_memory_utilization));
  info_.ctx_size = ctx;
  info_.page_tokens = page;
  info_.n_pages = (ctx + page - 1) / page;
  info_.chunk_size = std::min(chunk, info_.n_pages * page);
  limits_.n_tokens = info_.chunk_size;
  limits_.n_logits = std::min(kLogitRows, info_.chunk_size);
  limits_.n_blocks = info_.n_pages;
  limits_.page_tokens = page;
  const int64_t d_gate = gates_ ? gates_->config.d_gate : 0;
  backend_->check_model(
      {config_.d_model, shard_.local.d_ff, config_.d_head, shard_.n_ids(), d_gate, page, info_.n_pages});
}

// On a device with memory of its own, the pool takes what weights and activations leave of the share that may
// be used.
void EngineImpl::size_cache() {
  const std::optional<Backend::Memory> memory = backend_->memory();
  if (!memory) return;
  const int64_t page = info_.page_tokens;
  const auto may_use =
      static_cast<int64_t>(options_.gpu_memory_utilization * static_cast<double>(memory->total));
  const int64_t page_bytes = KvCache::page_bytes(*backend_, shard_.local, gate_config(), page);
  const int64_t room = ranks_.least_room(backend_.get(), options_.gpu_memory_utilization);
  const auto pages_that_fit = [&] {
    const int64_t left =
        room - kGpuReserve - Workspace::arena_bytes(*backend_, shard_, gate_config(), limits_);
    return std::max<int64_t>(0, left / page_bytes);
  };
  // Lists of blocks grow with the context, so a smaller context leaves a little more room for pages.
  int64_t fitting = pages_that_fit();
  if (options_.ctx_size == 0 && fitting < limits_.n_blocks && fitting > 0) {
    limits_.n_blocks = fitting;
    info_.ctx_size = fitting * page;
    info_.chunk_size = limits_.n_tokens = std::min(limits_.n_tokens, info_.ctx_size);
    fitting = pages_that_fit();
  }
  if (fitting < limits_.n_blocks)
    throw Error(ErrorKind::kMemory,
                "a context of " + std::to_string(info_.ctx_size) +
                    " tokens does not fit on the GPU: expected room for " + std::to_string(limits_.n_blocks) +
                    " pages of " + std::to_string(page_bytes >> 10) + " KiB, found room for " +
                    std::to_string(fitting) + " (" + std::to_string(fitting * page) + " tokens) in " +
                    std::to_string(may_use >> 20) + " MiB beside weights and activations. Use --ctx-size " +
                    std::to_string(fitting * page) +
                    " or less, a smaller --chunk-size, or a higher --gpu-memory-utilization.");
  info_.n_pages = std::min(fitting, kMaxContext / page);
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
  g.last_block_dense = gate.last_block_dense;
  g.default_rule = rule_of(gate);
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

std::unique_ptr<Session> EngineImpl::new_session() {
  return std::make_unique<SessionImpl>(std::static_pointer_cast<EngineImpl>(shared_from_this()));
}

SparseRule EngineImpl::resolve(const std::optional<SparseRule>& asked) const {
  if (!asked) return model_info_.gates ? model_info_.gates->default_rule : SparseRule{};
  if (asked->method == SparseRule::Method::kDense) return *asked;
  if (!gates_)
    throw Error(ErrorKind::kUsage, "the sparse rule " + asked->to_string() +
                                       " needs gates, and none were loaded. Name them with --gates.");
  return SparseRule::parse(asked->to_string());
}

void EngineImpl::check_tokens(std::span<const int32_t> ids) const {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= config_.n_vocab)
      throw Error(ErrorKind::kUsage,
                  "token " + std::to_string(i) + " of the prompt is out of range: expected an id from 0 to " +
                      std::to_string(config_.n_vocab - 1) + ", found " + std::to_string(ids[i]));
}

}  // namespace seer
