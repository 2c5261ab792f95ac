#include "seer/engine.h"

#include <algorithm>
#include <filesystem>
#include <limits>

#include "engine/src/engine_impl.h"
#include "engine/src/session_impl.h"
#include "engine/src/tokenizer_impl.h"
#include "models/rope.h"

namespace seer {
namespace {

constexpr int64_t kDefaultChunk = 1024;  // tokens: long enough for OpenBLAS's peak, a few MB of activations
constexpr int64_t kDefaultPage = 64;     // tokens of a page without gates
constexpr int64_t kLogitRows = 256;      // rows of logits computed at once
constexpr int64_t kMaxContext = int64_t{1} << 30;  // tokens; page ids and row counts stay within 32 bits

std::unique_ptr<Backend> make_backend(const std::string& device, int threads) {
  if (device == "auto" || device == "cpu") return make_cpu_backend(threads);
  if (device == "cuda" || device.starts_with("cuda:"))
    throw Error(ErrorKind::kDevice,
                "device '" + device +
                    "' was asked for, but this build has no CUDA backend. Use --device cpu or auto.");
  throw Error(ErrorKind::kUsage, "expected device auto, cpu, cuda or cuda:N, found '" + device + "'");
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
      config_(ModelConfig::load(options.model_dir)),
      generation_(GenerationConfig::load(options.model_dir)) {
  load_tokenizer_files();
  backend_ = make_backend(options.device, options.threads);
  if (!options.gates_dir.empty()) gates_ = GateWeights::load(options.gates_dir, config_);
  size_cache();
  weights_ = LlamaWeights::load(options.model_dir, config_, backend_.get(), [&](int64_t done, int64_t total) {
    return !options.on_load || options.on_load({total, done});
  });

  const GateConfig* gate = gates_ ? &gates_->config : nullptr;
  pages_ = std::make_unique<PageAllocator>(info_.n_pages);
  cache_ = std::make_unique<KvCache>(backend_.get(), config_, gate, info_.page_tokens, info_.n_pages);
  info_.kv_bytes = cache_->nbytes();
  StepLimits limits;
  limits.n_tokens = info_.chunk_size;
  limits.n_logits = std::min(kLogitRows, info_.chunk_size);
  limits.n_blocks = info_.n_pages;
  limits.page_tokens = info_.page_tokens;
  decoder_ = std::make_unique<Decoder>(backend_.get(), config_, weights_, gates_ ? &*gates_ : nullptr,
                                       cache_.get(), limits);
  describe_model();
}

void EngineImpl::load_tokenizer_files() {
  const std::filesystem::path dir = options_.model_dir;
  for (const char* name : {"tokenizer.json", "tokenizer.model"})
    if (std::filesystem::exists(dir / name)) {
      tokenizer_ = Tokenizer::load(options_.model_dir);
      return;
    }
}

void EngineImpl::size_cache() {
  const int64_t page = gates_ ? gates_->config.gate_block : kDefaultPage;
  const int64_t ctx = options_.ctx_size == 0 ? config_.max_positions : options_.ctx_size;
  if (ctx < 1 || ctx > kMaxContext)
    throw Error(ErrorKind::kUsage, "expected a context of 1 to " + std::to_string(kMaxContext) +
                                       " tokens, found " + std::to_string(ctx));
  if (ctx > config_.max_positions)
    log(LogLevel::kWarning, "the context of " + std::to_string(ctx) + " tokens is beyond the " +
                                std::to_string(config_.max_positions) + " positions the model was made for");
  int64_t chunk =
      options_.chunk_size == 0 ? std::max(page, kDefaultChunk / page * page) : options_.chunk_size;
  if (chunk < page || chunk % page != 0)
    throw Error(ErrorKind::kUsage, "expected a chunk size that is a multiple of the gate block of " +
                                       std::to_string(page) + " tokens, found " + std::to_string(chunk));
  info_.device = backend_->description();
  info_.ctx_size = ctx;
  info_.page_tokens = page;
  info_.n_pages = (ctx + page - 1) / page;
  info_.chunk_size = std::min(chunk, info_.n_pages * page);
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
