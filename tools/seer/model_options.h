// The options of every subcommand that loads a model, and the load with its progress line.
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
  std::string gates_dir, more_gates_dir;  // -g, which may be given twice
  std::string random_config;              // bench's --config: the shape to measure, instead of a model
  int64_t ctx_size = 0;
  int64_t chunk_size = 0, mixed_chunk_size = 0, max_batch_size = 0, pool_size = 0;
  int64_t threads = 0;
  std::string device = "auto";
  int64_t cp = 0;  // ranks to start on this machine which divide prompts; 0: none
  int64_t tp = 0;  // ranks to start on this machine which divide weights; 0: those of mpirun, or one
  std::optional<double> comm_timeout;
  std::optional<double> gpu_memory_utilization;
  std::string kv_cache_dtype = "auto";
  std::string weights = "auto";
  std::string activations = "auto";
  bool no_prefix_cache = false;
  std::string disk_cache_dir;
  int64_t disk_cache_bytes = 0, host_cache_bytes = 0;
  bool verbose = false;

  // `ctx_standard` is the help's text for --ctx-size 0 in this subcommand.
  void add_to(Args& args, const std::string& ctx_standard = "the model's maximum");

 private:
  void add_gates_dir(const std::string& dir);
};

void add_model_dir(Args& args, std::string& model_dir);
// Throws Error{kUsage} if there is neither -m nor SEER_MODEL.
void require_model_dir(const std::string& model_dir);

// Loads a model with a progress line on a terminal, and with warnings unless `quiet`. Ctrl-C cancels. Throws
// as Engine::load does.
std::shared_ptr<Engine> load_engine(const ModelOptions& options, bool quiet = false);

// Returns the end of a sentence of advice about a context that is too short: ", or start with a larger
// --ctx-size", or nothing if it is the model's largest already.
std::string larger_context(const EngineInfo& info);

// Returns the ids from encode(limits), which tokenizes a prompt that must fit the context and may be
// interrupted. Throws Error{kUsage} for a text that is refused for its length before it is tokenized.
std::vector<int32_t> encode_prompt(const EngineInfo& info,
                                   const std::function<std::vector<int32_t>(const EncodeLimits&)>& encode);

// Returns the number of threads as the engine counts it: --threads, else the cores that this process may use.
int64_t thread_count(const ModelOptions& options);

}  // namespace seer::cli
