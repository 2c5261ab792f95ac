// libseer_engine's front door: load a model once, open a session per conversation or submit requests by the
// hundred. For C: seer/seer.h.
//
// Errors are seer::Error, whose kind each function names; beside it std::bad_alloc where the machine's own
// memory is exhausted, and whatever a callback of yours throws, which passes through the function that called
// it. The library never prints, exits or installs signal handlers by itself; seer/mapped_files.h says what
// happens if a model's file is changed while it is used. Options, requests and results are plain values: copy
// them freely.
//
// Processes. An engine works in the process that loaded it. In a process that was forked from that one, its
// threads are missing: whatever would compute, wait or count, of the engine and of its sessions, generations
// and ranks, is refused there with Error{kUsage}, cancel() does nothing, and destroying them frees no memory.
// What reads only goes on working: model(), info(), tokenizer(), Session::tokens(). Load an engine after the
// fork; a child that calls exec or _exit at once needs to know nothing of this.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "seer/generation.h"
#include "seer/request.h"
#include "seer/tokenizer.h"

namespace seer {

struct SEER_API LoadProgress {
  int64_t bytes_total;
  int64_t bytes_done;
};

enum class LogLevel { kInfo, kWarning };

class Ranks;

// What the ranks of an engine divide among them.
enum class RankSplit {
  kTensor,   // the model: each has its heads and its part of the MLP, of all tokens (tensor parallelism)
  kContext,  // every prompt and its KV pages: each has the whole model, for contexts whose pages one device
             // does not hold (context parallelism). Decoding gains nothing by it.
};

struct SEER_API EngineOptions {
  std::string model_dir;  // config.json, *.safetensors[.index.json], tokenizer files
  std::string gates_dir;  // config.json, attn_gate_weights.pth or .safetensors; empty: no gates, dense only
  std::string
      random_config;  // instead of model_dir and gates_dir: a config.json whose shape gets random weights,
                      // and random gates where it has seerattn_* keys; for measuring. No tokenizer.
  std::string device = "auto";  // auto (cuda:0 where it can be used, else cpu), cpu, cuda or cuda:N
  int threads = 0;              // CPU threads; 0: as many as usable_cores()
  int64_t ctx_size = 0;         // most tokens of a session; 0: max_position_embeddings or the
                                // attention window if that is shorter, or what fits on the GPU
  int64_t chunk_size =
      0;  // prompt tokens computed at a time, a multiple of the gate block; 0: 1024 on a CPU, 8192 on a GPU
  // Requests share steps: in each, every one that decodes gets a token, and prompts that wait a chunk.
  int64_t mixed_chunk_size =
      0;  // prompt tokens of a step in which others decode, a multiple of the gate block; less keeps their
          // tokens coming, more finishes prompts sooner; 0: 64 on a CPU, 256 on a GPU
  int64_t max_batch_size = 0;  // requests computed in one step; 0: 16 on a CPU, 64 on a GPU
  int64_t pool_size = 0;       // tokens of KV pages that all requests and sessions share, at least ctx_size;
                               // 0: ctx_size on a CPU, what fits on a GPU
  bool prefix_cache = true;    // keep full pages of requests that are over, and share pages by content
  // The type of keys and values in the KV cache: f32 or bf16; auto: f32 on a CPU, bf16 on a GPU, which has
  // bf16 alone. On a CPU, bf16 takes half the memory and half of what a decoded token reads of it; keys and
  // values are rounded to 8 significant bits when they are stored, where f32 keeps what was computed.
  std::string kv_cache_dtype = "auto";
  // The type to which matrices of layers are brought while they are loaded, in the place of the stored one.
  // auto: as stored (a GPU turns float32 and float16 into bf16). bf16. fp8: E4M3 with a scale for each
  // output; on a GPU, products of many tokens round their inputs to E4M3 as well, a scale for each token.
  // int4: in groups of 128 inputs (64 or 32, if 128 do not divide). Codes are rounded to nearest, which loses
  // more than a calibrated checkpoint does. The embedding, lm_head, norms and gates stay as they are.
  // Error{kUnsupported} for a checkpoint that is quantised already.
  std::string weights = "auto";
  // The type that a CPU rounds inputs of matrix products to, in steps that compute a prompt (those of few
  // tokens round nothing): f32, which rounds nothing, or bf16, which processors with AVX512-BF16 multiply
  // about twice as fast with bf16 and quantised weights. bf16 is refused on a GPU, whose activations have
  // that type anyway, on other processors, and if layers have F16 or F32 weights (see `weights`).
  std::string cpu_activations = "f32";
  double gpu_memory_utilization = 0.9;  // of the GPU's memory, for weights, activations and KV pages together
  // The processes that hold the model together with this one, which is their rank 0 (seer/ranks.h); null:
  // alone. One engine at a time uses them. `device` is every rank's: auto and cuda give each rank of a
  // machine the next GPU.
  std::shared_ptr<Ranks> ranks;
  RankSplit rank_split = RankSplit::kTensor;
  // Called by load() on its thread. false cancels the load: Error{kCancelled}.
  std::function<bool(const LoadProgress&)> on_load;
  // What a user may want to know; absent: dropped. Kept as long as the engine, called by any thread that uses
  // it, and must not throw.
  std::function<void(LogLevel, const std::string&)> on_log;
};

struct SEER_API GateInfo {
  std::string source;      // the file the gates came from
  std::string gate_type;   // as configured, "Qavg_Kmaxminavg"
  int64_t gate_block = 0;  // tokens
  int64_t d_gate = 0;
  bool double_linear = false;
  bool last_block_dense = false;
  SparseRule default_rule;
  int64_t n_params = 0;
};

// An id that ends a generation, and the files that say so: "generation_config.json",
// "tokenizer_config.json's eos_token <|im_end|>".
struct SEER_API StopId {
  int32_t id = -1;
  std::string source;
};

struct SEER_API ModelInfo {
  std::string architecture;  // "LlamaForCausalLM"
  std::string dtype;         // of most weights: "BF16", "F16", "F32", or of codes: "F8_E4M3", "I8", "int4"
  // How linear layers are quantised, for people: "fp8, dynamic: 224 of 225 linear layers, 8.01 bits a weight
  // (E4M3), 8.94 with embeddings and all else that is plain; plain: lm_head"; begins with "--weights" if
  // EngineOptions::weights did that. Empty if none is.
  std::string quantisation;
  std::string rope;  // "default", "llama3, factor 8", ...
  int64_t n_layers = 0, n_heads = 0, n_kv_heads = 0, d_head = 0, d_model = 0, d_ff = 0, n_vocab = 0;
  int64_t max_positions = 0;      // max_position_embeddings
  std::optional<int64_t> window;  // tokens that sliding-window attention reaches back to, if the model has
                                  // it; no context goes beyond it
  double rope_theta = 0.0, rms_norm_eps = 0.0;
  bool tied_embeddings = false;
  int64_t n_params = 0, n_bytes = 0;  // weights, gates apart; bytes as stored, or as EngineOptions::weights
  std::vector<int32_t> eos_ids;       // any of these ends a generation; all of stop_ids
  std::vector<StopId> stop_ids;       // the same with where each comes from
  // generation_config.json's; greedy if it says do_sample false; temperature 1 if the file is there and has
  // none; Seer's own defaults without the file.
  SamplingParams default_sampling;
  std::optional<GateInfo> gates;
  std::vector<std::string> config_notes;  // sentences about keys of config.json and generation_config.json
                                          // that were read in a surprising way, or ignored
};

struct SEER_API EngineInfo {
  std::string device;            // "cpu (2 threads, AVX-512, OpenBLAS SkylakeX)"
  int64_t ctx_size = 0;          // tokens
  int64_t chunk_size = 0;        // tokens
  int64_t page_tokens = 0;       // tokens a KV page holds: the gate block, 64 without gates
  int64_t n_pages = 0;           // of all ranks together where they divide prompts
  int64_t kv_bytes = 0;          // of the pool, gate keys included, that each rank holds
  int64_t mixed_chunk_size = 0;  // tokens
  int64_t max_batch_size = 0;    // requests
  bool prefix_cache = false;
  int64_t n_ranks = 1;
  RankSplit rank_split = RankSplit::kTensor;
  int64_t max_ctx_size = 0;     // tokens: the largest context that the model was made for
  std::string kv_cache_dtype;   // "f32" or "bf16": the type of keys and values in pages
  std::string cpu_activations;  // "f32" or "bf16", as EngineOptions has it; empty on a GPU
};

// How many CPU cores this process may use: those of its affinity mask, or fewer where its cgroups (a
// container's CPU limit) grant less time than that, a quota of 1.5 cores counting as 2. Never fails; at
// least 1.
SEER_API int usable_cores();

class Session;

// An immutable model with its page pool, and the thread that computes submitted requests. All functions may
// be called from many threads at once; what they return by reference lives as long as the engine. Destroyed
// with submitted requests under way, it ends them as cancelled; that must not happen on its own thread, so no
// callback may hold the last reference to it.
class SEER_API Engine : public std::enable_shared_from_this<Engine> {
 public:
  // Throws Error: kFile or kUnsupported for the files, kUsage for the options, kMemory, kDevice, kCancelled.
  // The files must not change while the engine lives: on a CPU the weights are used where they are mapped.
  static std::shared_ptr<Engine> load(const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const ModelInfo& model() const = 0;  // never fails
  virtual const EngineInfo& info() const = 0;  // never fails
  // Throws Error{kFile} where the model folder has no tokenizer; a model is usable by ids without one.
  virtual const Tokenizer& tokenizer() const = 0;
  // An empty conversation, which takes pages as it grows. A session keeps its engine alive.
  virtual std::unique_ptr<Session> new_session() = 0;
  // Queues a request of its own, without a conversation, and returns. Its callbacks run on the engine's
  // thread, between the steps of all requests: they must be quick and must not wait for another request;
  // returning false stops the request, an exception fails it alone. Throws Error{kUsage} at once for what
  // Session::generate refuses. A request that fits the context runs to its end whatever else is under way:
  // where pages are short, the youngest gives its own back and computes them again later, unnoticed but for
  // the time. Only pages that open sessions hold can be in its way: Error{kMemory} from wait().
  virtual std::unique_ptr<Generation> submit(GenerateRequest request) = 0;
  virtual EngineStats stats() const = 0;  // fails in a forked process alone
  // What keeps this engine from computing anything ever again: its GPU has failed, or another of its ranks
  // (seer/ranks.h) has failed, was killed, or did not answer in time. It is noticed at once while requests
  // are computed and within a second otherwise. From then on every request fails. After a rank's end, destroy
  // the engine and load another one; a GPU that has failed answers this process no more, so end it and start
  // another. Absent: the engine can compute, as one on a CPU without other ranks always can. Fails in a
  // forked process alone.
  virtual std::optional<Error> failure() const { return std::nullopt; }
};

// One conversation and its KV pages. One thread at a time, cancel() apart; it need not be always the same. No
// call to a session but cancel() from its own callbacks. Destroyed, with no request running, it frees its
// pages.
class SEER_API Session {
 public:
  virtual ~Session() = default;

  // Appends the prompt, prefills what the cache does not hold, then decodes. Returns when the generation has
  // ended; a cancelled one is a result with FinishReason::kCancelled. Throws Error{kUsage} for an empty
  // prompt, ids out of range, a prompt beyond the context, sampling out of range, or a sparse rule without
  // gates; kMemory where the pages that other sessions hold between their requests leave too few; kDevice.
  // After an error or a cancel, tokens() is what the session still holds: whole pages that had been computed
  // stay cached.
  virtual GenerateResult generate(const GenerateRequest& request) = 0;
  // Prefills request.tokens from an empty session and reports logits (and gate rows) on the way; the session
  // then holds those tokens. Errors as generate; a cancelled one is Error{kCancelled}.
  virtual RequestStats evaluate(const EvaluateRequest& request) = 0;

  // What the session holds; the reference is valid until the next call but cancel(). Never fails.
  virtual const std::vector<int32_t>& tokens() const = 0;
  virtual void reset() = 0;  // forgets the tokens and frees the pages; fails in a forked process alone
  // Stops the running request at the next token or chunk; from any thread, any number of times. A cancel with
  // nothing running is forgotten.
  virtual void cancel() noexcept = 0;
};

}  // namespace seer
