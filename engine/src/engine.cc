#include "seer/engine.h"

#include <algorithm>
#include <filesystem>

#include "engine/src/activations.h"
#include "engine/src/devices.h"
#include "engine/src/engine_impl.h"
#include "engine/src/kv_dtype.h"
#include "engine/src/select_rule.h"
#include "engine/src/stop_ids.h"
#include "engine/src/tokenizer_impl.h"
#include "engine/src/weight_format.h"
#include "kernels/cpu/cores.h"
#include "models/checkpoint_folder.h"
#include "models/rope.h"

namespace seer {
namespace {

// How often the engine checks that other ranks and the GPU are alive, while there is nothing to compute.
constexpr std::chrono::milliseconds kLookInterval(200);
constexpr uint64_t kRandomSeed = 20260101;  // for random weights: the model is the same on every device

// Returns the sampling parameters of generation_config.json. An absent key has vLLM's default: temperature 1,
// and all tokens kept. transformers' generate() would keep the 50 likeliest tokens and, without do_sample, be
// greedy.
SamplingParams sampling_of(const GenerationConfig& g) {
  SamplingParams params;
  if (g.exists) params.temperature = g.temperature.value_or(1.0);
  if (g.top_p) params.top_p = *g.top_p;
  if (g.top_k) params.top_k = std::max<int64_t>(*g.top_k, 0);  // other programs write -1 for "all"
  if (g.min_p) params.min_p = *g.min_p;
  if (g.repetition_penalty) params.repeat_penalty = *g.repetition_penalty;
  if (g.do_sample && !*g.do_sample) params.temperature = 0.0;
  return params;
}

// Returns what a GateInfo and a DecodeGateInfo say of the same kind.
template <class Info, class Weights>
Info described(const Weights& gates) {
  Info info;
  info.source = gates.tensors.source();
  info.gate_type = gates.config.gate_type;
  info.gate_block = gates.config.gate_block;
  info.d_gate = gates.config.d_gate;
  for (const auto& [name, tensor] : gates.tensors.all()) info.n_params += tensor.numel();
  return info;
}

}  // namespace

int usable_cores() { return available_cores(); }

std::shared_ptr<Engine> Engine::load(const EngineOptions& options) {
  return shared_here(std::make_unique<EngineImpl>(options));
}

EngineImpl::EngineImpl(const EngineOptions& options)
    : options_(options),
      kv_dtype_asked_(named_kv_dtype(options.kv_cache_dtype)),
      activations_(named_activations(options.activations, options.device)),
      model_({options.model_dir, options.gates_dir, options.more_gates_dir, options.random_config,
              kRandomSeed, named_weight_format(options.weights)}),
      ranks_(options.ranks) {
  if (!model_.files().random()) {
    generation_ = GenerationConfig::load(options.model_dir);
    load_tokenizer_files();
  }
  if (options.rank_split == RankSplit::kContext) layout_.n_owners = ranks_.size();
  open_model();
  size_steps();
  check_tiers();
  load_weights();
  size_cache();
  pages_ = std::make_unique<PrefixCache>(info_.n_pages, info_.page_tokens, info_.prefix_cache, nullptr,
                                         layout_, page_cost(model_.config()));
  ranks_.allocate(limits_, pages_of_rank());
  model_.allocate(limits_, pages_of_rank(), ranks_.comm());
  ranks_.allocated();
  info_.kv_bytes = model_.cache().nbytes();
  info_.step_bytes = step_bytes(limits_);
  info_.n_ranks = ranks_.size();
  info_.rank_split = options_.rank_split;
  describe_model();
  page_transfer_.emplace(model_, ranks_.comm(), divided(), pages_of_rank());
  runner_ = std::make_unique<ModelRunner>(&model_.backend(), &model_.decoder(), ranks_.comm());
  const bool may_fail = ranks_.size() > 1 || model_.backend().has_own_memory();
  scheduler_ = std::make_unique<Scheduler>(
      runner_.get(), pages_.get(),
      SchedulerLimits{info_.page_tokens, info_.chunk_size, info_.mixed_chunk_size, info_.max_batch_size,
                      may_fail ? kLookInterval : std::chrono::milliseconds(0)},
      make_tiers());
}

void EngineImpl::open_model() {
  // This comes before opening the device, which takes longer. It refuses a model that cannot be divided among
  // the ranks.
  const Shard shard(model_.config(), 0, options_.rank_split == RankSplit::kTensor ? ranks_.size() : 1);
  std::unique_ptr<Backend> backend =
      open_device(options_.device, ranks_.threads(options_.threads), activations_,
                  [this](const std::string& text) { log(LogLevel::kWarning, text); });
  check_activations(activations_, *backend);
  const DType kv_dtype = kv_dtype_on(*backend, kv_dtype_asked_);
  model_.open(std::move(backend), shard, kv_dtype);
  info_.kv_cache_dtype = kv_dtype_name(kv_dtype);
  info_.device = model_.backend().description();
  if (ranks_.size() > 1) info_.device += ", " + std::to_string(ranks_.size()) + " ranks";
  if (divided()) info_.device += " that divide prompts";
}

void EngineImpl::load_weights() {
  const std::string device = !model_.backend().has_own_memory() ? "cpu"
                             : options_.device == "auto"        ? "cuda"
                                                                : options_.device;
  ranks_.load({model_.files(), device, options_.threads, info_.page_tokens, info_.n_pages,
               options_.gpu_memory_utilization, 0, options_.rank_split, model_.kv_dtype(), activations_},
              &model_.backend());
  model_.load([&](int64_t done, int64_t total) {
    ranks_.check();
    return !options_.on_load || options_.on_load({total, done});
  });
  ranks_.loaded();
  check_activations(activations_, model_.backend(), model_.weights().layers);
  info_.activations = activations_used(activations_, model_.backend(), model_.weights().layers);
}

const PageFingerprint& EngineImpl::fingerprint() {
  if (fingerprint_) return *fingerprint_;
  PageFingerprint all;
  const std::vector<Checksum> others = ranks_.fingerprints([&] {
    const int n_threads = ranks_.threads(options_.threads);
    all = page_fingerprint(model_, info_.page_tokens, n_threads == 0 ? available_cores() : n_threads);
  });
  all.push_back({"the type of products' inputs", info_.activations, "--activations"});
  const std::string ranks = std::to_string(ranks_.size());
  // The first item, because it also decides the others: a rank may have a part of the model.
  all.insert(all.begin(), {"the ranks",
                           ranks_.size() == 1 ? "1"
                           : divided()        ? ranks + " that divide prompts"
                                              : ranks + " that divide the model",
                           "--tp, --cp"});
  for (size_t r = 0; r < others.size(); ++r)
    all.push_back({"the model on rank " + std::to_string(r + 1), others[r].to_hex()});
  fingerprint_ = std::move(all);
  return *fingerprint_;
}

void EngineImpl::load_tokenizer_files() {
  const std::filesystem::path dir = options_.model_dir;
  for (const char* name : {"tokenizer.json", "tokenizer.model"})
    if (has_entry(dir / name)) {
      tokenizer_ = Tokenizer::load(options_.model_dir);
      return;
    }
}

void EngineImpl::describe_model() {
  const ModelConfig& config = model_.config();
  const ModelWeights& weights = model_.weights();
  ModelInfo& m = model_info_;
  m.architecture = config.architecture;
  m.dtype = weights.dtype;
  m.quantisation = weights.quantisation;
  m.rope = rope_description(config.rope);
  m.n_layers = config.n_layers;
  m.n_heads = config.n_heads;
  m.n_kv_heads = config.n_kv_heads;
  m.d_head = config.d_head;
  m.d_model = config.d_model;
  m.d_ff = config.d_ff;
  m.n_vocab = config.n_vocab;
  m.max_positions = config.max_positions;
  m.rope_theta = config.rope.theta;
  m.rms_norm_eps = config.rms_norm_eps;
  m.tied_embeddings = weights.tied;
  m.n_params = weights.n_params;
  m.n_bytes = weights.n_bytes;
  for (const std::string& name : weights.skipped)
    log(LogLevel::kInfo, "skipped the tensor " + name + ", which a " + config.architecture + " does not use");
  m.window = config.window;
  m.config_notes = config.notes;
  for (const std::string& note : config.notes) log(LogLevel::kInfo, "config.json: " + note);
  for (const std::string& note : weights.notes) {
    m.config_notes.push_back(note);
    log(LogLevel::kWarning, note);
  }
  if (const GateWeights* gates = model_.gates().set().prefill) describe_gates(*gates);
  if (const DecodeGateWeights* gates = model_.gates().set().decode) describe_decode_gates(*gates);
  describe_sampling();
}

void EngineImpl::describe_sampling() {
  ModelInfo& m = model_info_;
  m.stop_ids = find_stop_ids(generation_, model_.config(), text_tokenizer(),
                             tokenizer_ ? tokenizer_->impl().template_text : std::string());
  for (const StopId& stop : m.stop_ids) m.eos_ids.push_back(stop.id);
  m.default_sampling = sampling_of(generation_);
  if (generation_.ignored.empty()) return;
  std::string list;
  for (const std::string& key : generation_.ignored) list += (list.empty() ? "" : ", ") + key;
  const std::string note = "generation_config.json: not followed, though they would change the text: " + list;
  m.config_notes.push_back(note);
  log(LogLevel::kWarning, note);
}

void EngineImpl::describe_gates(const GateWeights& gates) {
  const GateConfig& config = gates.config;
  auto g = described<GateInfo>(gates);
  g.double_linear = config.double_linear;
  g.last_block_dense = config.rule.last_block_dense;
  g.has_head_factors = !config.head_factors.empty();
  g.default_rule = sparse_rule(config.rule);
  if (config.untuned) warn_untuned("gates", g.default_rule.to_string());
  model_info_.gates = g;
}

void EngineImpl::describe_decode_gates(const DecodeGateWeights& gates) {
  const DecodeGateConfig& config = gates.config;
  auto g = described<DecodeGateInfo>(gates);
  g.has_norms = config.has_norms;
  g.start_layer = config.start_layer;
  g.default_rule = sparse_decode_rule(config.rule);
  if (config.untuned) warn_untuned("decode gates", g.default_rule.to_string());
  model_info_.decode_gates = g;
}

void EngineImpl::warn_untuned(const std::string& gates, const std::string& rule) {
  log(LogLevel::kWarning,
      "the " + gates +
          "' config.json says seerattn_threshold 0.0, which means it was never tuned; the default is " +
          rule);
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
