// The options every subcommand that loads a model has, and the load with its progress line.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "seer/engine.h"
#include "tools/seer/args.h"

namespace seer::cli {

struct ModelOptions {
  std::string model_dir;
  std::string gates_dir;
  std::string random_config;  // bench's --config: a shape to measure instead of a model
  int64_t ctx_size = 0;
  int64_t chunk_size = 0, mixed_chunk_size = 0, max_batch_size = 0, pool_size = 0;
  int64_t threads = 0;
  std::string device = "auto";
  int64_t cp = 0;  // ranks that divide prompts, likewise; 0: none do
  int64_t tp = 0;  // ranks to start on this machine; 0: mpirun's, or one
  std::optional<double> comm_timeout;
  std::optional<double> gpu_memory_utilization;
  std::string kv_cache_dtype = "auto";
  std::string weights = "auto";
  std::string cpu_activations = "f32";
  bool no_prefix_cache = false;
  bool verbose = false;

  // `ctx_standard`: what --ctx-size 0 means to this subcommand.
  void add_to(Args& args, const std::string& ctx_standard = "the model's maximum");
};

void add_model_dir(Args& args, std::string& model_dir);
void require_model_dir(
    const std::string& model_dir);  // throws Error{kUsage} where neither -m nor SEER_MODEL is there

// --sparse once. `require_gates` refuses a sparse rule where no gates were given, before anything is loaded.
void add_sparse(Args& args, std::optional<SparseRule>& rule);
void require_gates(const std::optional<SparseRule>& rule, const ModelOptions& options);

// --sparse as a list, for bench and perplexity. Empty means dense, and the gates' own rule where there are
// gates.
void add_sparse_list(Args& args, std::vector<SparseRule>& rules);
std::vector<SparseRule> rules_to_run(const std::vector<SparseRule>& rules, const ModelInfo& model);

// Loads with a progress line on a terminal, and with warnings unless `quiet`; Ctrl-C cancels. Throws as
// Engine::load.
std::shared_ptr<Engine> load_engine(const ModelOptions& options, bool quiet = false);

// The rule a request without one runs under.
SparseRule effective_rule(const std::optional<SparseRule>& rule, const ModelInfo& model);

// Words for the end of advice about a context that is too short: ", or start with a larger --ctx-size", or
// nothing if it is the model's largest already.
std::string larger_context(const EngineInfo& info);

// Calls encode(limits), which tokenizes a prompt that must fit the context and may be interrupted, and
// returns its ids. Throws Error{kUsage} for a text so long that it is refused before it is tokenized.
std::vector<int32_t> encode_prompt(const EngineInfo& info,
                                   const std::function<std::vector<int32_t>(const EncodeLimits&)>& encode);

int64_t thread_count(
    const ModelOptions& options);  // as the engine counts: --threads, else the cores we may use

}  // namespace seer::cli
