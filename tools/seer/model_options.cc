#include "tools/seer/model_options.h"

#include <algorithm>

#include "tools/seer/byte_size.h"
#include "tools/seer/format.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/output.h"
#include "tools/seer/rank_options.h"
#include "tools/seer/status_line.h"

namespace seer::cli {
namespace {

// These are more than any machine has, and less than an int or a thread pool can handle.
constexpr int64_t kMaxThreads = 4096;
constexpr int64_t kMaxRanks = 1024;

void describe_engine(const Engine& engine) {
  const ModelInfo& model = engine.model();
  const EngineInfo& info = engine.info();
  log_info(model_type(model) + ", " + human_bytes(model.n_bytes) + " of weights, on " + info.device);
  log_info(format("context %lld tokens in %lld pages of %lld (%s, %s), chunks of %lld tokens",
                  static_cast<long long>(info.ctx_size), static_cast<long long>(info.n_pages),
                  static_cast<long long>(info.page_tokens), human_bytes(info.kv_bytes).c_str(),
                  info.kv_cache_dtype.c_str(), static_cast<long long>(info.chunk_size)));
  log_info(human_bytes(info.step_bytes) + " that steps work in");
  log_info(format("%lld tokens of a prompt in a step in which others decode, %lld requests a step, %s",
                  static_cast<long long>(info.mixed_chunk_size), static_cast<long long>(info.max_batch_size),
                  info.prefix_cache ? "pages shared by content" : "no prefix cache"));
  if (model.gates)
    log_info("gates " + model.gates->source + ", rule " + model.gates->default_rule.to_string());
  if (model.decode_gates)
    log_info("decode gates " + model.decode_gates->source + ", rule " +
             model.decode_gates->default_rule.to_string());
}

}  // namespace

void add_model_dir(Args& args, std::string& model_dir) {
  args.value("-m,--model", "DIR", "none: it must be given", "folder of a Hugging Face checkpoint",
             into(model_dir), "SEER_MODEL");
}

void require_model_dir(const std::string& model_dir) {
  if (model_dir.empty()) throw Error(ErrorKind::kUsage, "no model: give -m DIR or set SEER_MODEL");
}

void ModelOptions::add_to(Args& args, const std::string& ctx_standard) {
  args.group("Model");
  add_model_dir(args, model_dir);
  args.values(
      "-g,--gates", "DIR", "none: dense attention",
      "folder of trained SeerAttention gates, for prompts or for decoding, or a folder with one of each; may "
      "be "
      "given twice, for gates of both kinds",
      [this](const std::string& dir) { add_gates_dir(dir); }, "SEER_GATES");
  args.value("-c,--ctx-size", "N", "0: " + ctx_standard,
             "tokens the KV cache holds, prompt and completion together", into(ctx_size, 0));
  args.value("--chunk-size", "N", "0: the engine's choice",
             "prompt tokens computed at a time, a multiple of the gate block", into(chunk_size, 0));
  args.value("--mixed-chunk-size", "N", "0: 64 on a CPU, 256 on a GPU",
             "prompt tokens computed in a step in which others decode, a multiple of the gate block",
             into(mixed_chunk_size, 0));
  args.value("--max-batch-size", "N", "0: 16 on a CPU, 64 on a GPU", "requests computed in one step",
             into(max_batch_size, 0));
  args.value("--pool-size", "N", "0: --ctx-size on a CPU, what fits on a GPU",
             "tokens of KV pages that all requests share, at least --ctx-size", into(pool_size, 0));
  args.value("--kv-cache-dtype", "TYPE", "auto: f32 on a CPU, bf16 on a GPU",
             "type of keys and values in the KV cache: f32, or bf16, which takes half the memory and decodes "
             "faster after long prompts, but rounds them; a GPU has bf16 alone",
             into(kv_cache_dtype));
  args.value(
      "--weights", "TYPE", "auto: as they are stored",
      "round the layers' matrices while loading: bf16, fp8 (a scale for each output), or int4 (groups of "
      "128 inputs), which loses more than a calibrated checkpoint; not for quantised checkpoints",
      into(weights));
  args.value(
      "--activations", "TYPE", "auto: f32 on a CPU; on a GPU bf16, or FP8 for FP8 weights",
      "round inputs of prompts' matrix products to a type: f32 (on a CPU) rounds nothing; bf16 doubles the "
      "speed of a CPU with AVX512-BF16 and bf16 or quantised weights, and on a Hopper GPU halves what FP8 "
      "weights lose, but prompts take longer",
      into(activations));
  args.flag("--no-prefix-cache", no_prefix_cache,
            "forget a request's pages with it; else they serve prompts that begin alike");
  args.value(
      "--disk-cache", "DIR,SIZE", "none",
      "keep KV pages in files too, of SIZE (such as 64GiB) together, where later runs of the same model "
      "find them, so that they need not compute the same prompt again",
      into_dir_and_bytes(disk_cache_dir, disk_cache_bytes));
  args.value(
      "--host-cache", "SIZE", "none",
      "keep KV pages that leave the GPU's pool in the host's memory, of SIZE (such as 64GiB); GPU only",
      into_bytes(host_cache_bytes));
  args.value("-t,--threads", "N", "0: every core, within the container's CPU limit", "CPU threads",
             into(threads, 0, kMaxThreads));
  args.value("--device", "NAME", "auto",
             "auto (the first GPU that can be used, else the CPU), cpu, cuda or cuda:N", into(device),
             "SEER_DEVICE");
  args.value("--gpu-memory-utilization", "X", "0.9",
             "share of the GPU's memory for weights, activations and KV cache together",
             into(gpu_memory_utilization));
  args.value("--tp", "N", "1, or as many as mpirun started",
             "ranks on this machine that hold the model together, a GPU each or a share of the CPU's cores",
             into(tp, 1, kMaxRanks));
  args.value("--cp", "N", "1",
             "ranks that hold the whole model each and divide prompts and KV pages by tokens, for contexts "
             "beyond one GPU's memory; under mpirun as many as it started, instead of --tp",
             into(cp, 1, kMaxRanks));
  args.value("--comm-timeout", "SECONDS", "60",
             "give up a rank that others wait for longer than this within a step", into(comm_timeout));
  args.flag("-v,--verbose", verbose, "describe model, cache and gates on stderr after the load");
}

void ModelOptions::add_gates_dir(const std::string& dir) {
  if (dir.empty()) return;  // stands for no gates, and overrides SEER_GATES
  if (!more_gates_dir.empty())
    throw Error(
        ErrorKind::kUsage,
        "expected at most two folders, of gates for prompts and of gates for decoding; found a third, " +
            dir);
  (gates_dir.empty() ? gates_dir : more_gates_dir) = dir;
}

std::shared_ptr<Engine> load_engine(const ModelOptions& options, bool quiet) {
  if (options.random_config.empty()) require_model_dir(options.model_dir);
  EngineOptions engine_options;
  engine_options.random_config = options.random_config;
  if (options.gpu_memory_utilization) engine_options.gpu_memory_utilization = *options.gpu_memory_utilization;
  engine_options.model_dir = options.model_dir;
  engine_options.gates_dir = options.gates_dir;
  engine_options.more_gates_dir = options.more_gates_dir;
  engine_options.device = options.device;
  engine_options.threads = static_cast<int>(options.threads);
  engine_options.ctx_size = options.ctx_size;
  engine_options.chunk_size = options.chunk_size;
  engine_options.mixed_chunk_size = options.mixed_chunk_size;
  engine_options.max_batch_size = options.max_batch_size;
  engine_options.pool_size = options.pool_size;
  engine_options.kv_cache_dtype = options.kv_cache_dtype;
  engine_options.weights = options.weights;
  engine_options.activations = options.activations;
  engine_options.prefix_cache = !options.no_prefix_cache;
  engine_options.disk_cache_dir = options.disk_cache_dir;
  engine_options.disk_cache_bytes = options.disk_cache_bytes;
  engine_options.host_cache_bytes = options.host_cache_bytes;
  engine_options.ranks = ranks_for(options.tp, options.cp);
  if (options.cp > 1) engine_options.rank_split = RankSplit::kContext;
  if (options.comm_timeout && engine_options.ranks) engine_options.ranks->set_timeout(*options.comm_timeout);
  StatusLine line;
  engine_options.on_load = [&line](const LoadProgress& progress) {
    const double done = static_cast<double>(progress.bytes_done);
    const double total = static_cast<double>(std::max<int64_t>(progress.bytes_total, 1));
    line.update("loading " + human_bytes(progress.bytes_total) + format(" (%.0f%%)", 100.0 * done / total));
    return !interrupted();
  };
  engine_options.on_log = [&](LogLevel level, const std::string& message) {
    line.clear();
    if (level == LogLevel::kWarning) {
      if (!quiet) log_warning(message);
    } else if (options.verbose) {
      log_info(message);
    }
  };
  std::shared_ptr<Engine> engine = Engine::load(engine_options);
  throw_if_interrupted();
  line.clear();
  if (options.verbose) describe_engine(*engine);
  return engine;
}

std::string larger_context(const EngineInfo& info) {
  return info.ctx_size < info.max_ctx_size ? ", or start with a larger --ctx-size" : "";
}

std::vector<int32_t> encode_prompt(const EngineInfo& info,
                                   const std::function<std::vector<int32_t>(const EncodeLimits&)>& encode) {
  try {
    return encode({info.ctx_size, throw_if_interrupted});
  } catch (const TooManyTokens& error) {
    throw Error(ErrorKind::kUsage, "the prompt of " + std::to_string(error.n_least()) +
                                       " tokens or more is longer than the context of " +
                                       std::to_string(info.ctx_size) + ". Shorten it" + larger_context(info) +
                                       ".");
  }
}

int64_t thread_count(const ModelOptions& options) {
  if (options.threads > 0) return options.threads;
  return cores_of_rank(usable_cores(), std::max(options.tp, options.cp));
}

}  // namespace seer::cli
