// Loading and describing an engine.
#include "engine/src/c_api/handles.h"

namespace seer::c_api {
namespace {

RankSplit split_of(int32_t split) {
  switch (split) {
    case SEER_RANK_SPLIT_TENSOR:
      return RankSplit::kTensor;
    case SEER_RANK_SPLIT_CONTEXT:
      return RankSplit::kContext;
  }
  throw Error(ErrorKind::kUsage,
              "seer_engine_options: expected a rank_split of SEER_RANK_SPLIT_TENSOR (" +
                  std::to_string(SEER_RANK_SPLIT_TENSOR) + ") or SEER_RANK_SPLIT_CONTEXT (" +
                  std::to_string(SEER_RANK_SPLIT_CONTEXT) + "), found " + std::to_string(split));
}

EngineOptions options_of(const seer_engine_options& in) {
  EngineOptions out;
  out.model_dir = text_or_empty(in.model_dir);
  out.gates_dir = text_or_empty(in.gates_dir);
  out.more_gates_dir = text_or_empty(in.more_gates_dir);
  out.random_config = text_or_empty(in.random_config);
  if (in.device != nullptr) out.device = in.device;
  out.threads = in.threads;
  out.ctx_size = in.ctx_size;
  out.chunk_size = in.chunk_size;
  out.mixed_chunk_size = in.mixed_chunk_size;
  out.max_batch_size = in.max_batch_size;
  out.pool_size = in.pool_size;
  out.prefix_cache = in.no_prefix_cache == 0;
  if (in.ranks != nullptr) out.ranks = in.ranks->ranks;
  out.rank_split = split_of(in.rank_split);
  if (in.kv_cache_dtype != nullptr) out.kv_cache_dtype = in.kv_cache_dtype;
  if (in.weights != nullptr) out.weights = in.weights;
  if (in.activations != nullptr) out.activations = in.activations;
  out.disk_cache_dir = text_or_empty(in.disk_cache_dir);
  out.disk_cache_bytes = in.disk_cache_bytes;
  out.host_cache_bytes = in.host_cache_bytes;
  if (in.gpu_memory_utilization != 0.0) out.gpu_memory_utilization = in.gpu_memory_utilization;
  if (out.model_dir.empty() && out.random_config.empty())
    throw Error(ErrorKind::kUsage, "seer_engine_options: expected a model_dir, found none");
  void* user = in.user;
  if (const auto on_load = in.on_load; on_load != nullptr)
    out.on_load = [=](const LoadProgress& p) { return on_load(user, p.bytes_done, p.bytes_total) != 0; };
  if (const auto on_log = in.on_log; on_log != nullptr)
    out.on_log = [=](LogLevel level, const std::string& message) {
      on_log(user, level == LogLevel::kWarning ? SEER_LOG_WARNING : SEER_LOG_INFO, message.c_str());
    };
  return out;
}

}  // namespace
}  // namespace seer::c_api

namespace {

// A template that cannot be interpreted counts as none here. To use it is refused, with the reason.
std::string template_name(const seer::Tokenizer& tokenizer) {
  try {
    const auto chat_template = tokenizer.chat_template();
    return chat_template ? chat_template->name() : std::string();
  } catch (const seer::Error&) {
    return {};
  }
}

}  // namespace

using namespace seer::c_api;

seer_status seer_engine_options_init(seer_engine_options* options, size_t size) {
  return guard([&] {
    seer_engine_options ours = {};
    ours.device = "auto";
    ours.gpu_memory_utilization = seer::EngineOptions().gpu_memory_utilization;
    to_caller(options, size, ours, "seer_engine_options");
  });
}

seer_status seer_engine_load(seer_engine** engine, const seer_engine_options* options) {
  if (engine != nullptr) *engine = nullptr;
  return guard([&] {
    check_pointer(engine, "the seer_engine* to fill");
    auto handle = std::make_unique<seer_engine>();
    handle->engine = seer::Engine::load(options_of(from_caller(options, {}, "seer_engine_options")));
    for (const seer::StopId& stop : handle->engine->model().stop_ids)
      handle->stop_id_sources.push_back(stop.source.c_str());
    const auto& gates = handle->engine->model().gates;
    handle->default_rule = (gates ? gates->default_rule : seer::SparseRule()).to_string();
    const auto& decode_gates = handle->engine->model().decode_gates;
    handle->default_decode_rule =
        (decode_gates ? decode_gates->default_rule : seer::SparseDecodeRule()).to_string();
    try {
      const seer::Tokenizer& tokenizer = handle->engine->tokenizer();
      handle->has_tokenizer = true;
      handle->chat_template = template_name(tokenizer);
    } catch (const seer::Error& error) {
      if (error.kind() != seer::ErrorKind::kFile)
        throw;  // kFile means that the model has no tokenizer; it may still be used with ids
    }
    *engine = handle.release();
  });
}

void seer_engine_free(seer_engine* engine) { delete engine; }

seer_status seer_engine_get_info(const seer_engine* engine, seer_engine_info* info, size_t size) {
  return guard([&] {
    check_pointer(engine, "a seer_engine");
    const seer::ModelInfo& model = engine->engine->model();
    const seer::EngineInfo& device = engine->engine->info();
    seer_engine_info ours = {};
    ours.device = device.device.c_str();
    ours.architecture = model.architecture.c_str();
    ours.default_rule = engine->default_rule.c_str();
    ours.chat_template = engine->chat_template.c_str();
    ours.ctx_size = device.ctx_size;
    ours.chunk_size = device.chunk_size;
    ours.page_tokens = device.page_tokens;
    ours.n_pages = device.n_pages;
    ours.kv_bytes = device.kv_bytes;
    ours.n_vocab = model.n_vocab;
    ours.n_layers = model.n_layers;
    ours.n_heads = model.n_heads;
    ours.n_kv_heads = model.n_kv_heads;
    ours.d_head = model.d_head;
    ours.d_model = model.d_model;
    ours.n_params = model.n_params;
    ours.n_bytes = model.n_bytes;
    ours.has_gates = model.gates ? 1 : 0;
    ours.has_tokenizer = engine->has_tokenizer ? 1 : 0;
    ours.mixed_chunk_size = device.mixed_chunk_size;
    ours.max_batch_size = device.max_batch_size;
    ours.n_ranks = device.n_ranks;
    ours.rank_split =
        device.rank_split == seer::RankSplit::kTensor ? SEER_RANK_SPLIT_TENSOR : SEER_RANK_SPLIT_CONTEXT;
    ours.kv_cache_dtype = device.kv_cache_dtype.c_str();
    ours.activations = device.activations.c_str();
    ours.default_decode_rule = engine->default_decode_rule.c_str();
    ours.has_decode_gates = model.decode_gates ? 1 : 0;
    ours.decode_start_layer = model.decode_gates ? model.decode_gates->start_layer : 0;
    ours.n_stop_ids = model.eos_ids.size();
    if (!model.eos_ids.empty()) {
      ours.stop_ids = model.eos_ids.data();
      ours.stop_id_sources = engine->stop_id_sources.data();
    }
    to_caller(info, size, ours, "seer_engine_info");
  });
}
