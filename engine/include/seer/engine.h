// The main header of libseer_engine: load a model once, then open a session for each conversation, or submit
// many requests at once. seer/seer.h is the same for C.
//
// Errors are seer::Error, and each function names the kinds it throws. Besides, std::bad_alloc is thrown if
// the host's memory is exhausted, and an exception of your callback passes through the function that called
// it. The library never prints, exits or installs signal handlers by itself; seer/mapped_files.h says what
// happens if a model's file is changed while it is used. Options, requests and results are plain values: copy
// them freely.
//
// Processes. An engine works only in the process that loaded it, because a process that is forked from that
// one lacks the engine's threads: load an engine after the fork. In the forked process, functions of the
// engine and of its sessions, generations and ranks that compute, wait or count throw Error{kUsage}, cancel()
// does nothing, and destroying these objects frees no memory. model(), info(), tokenizer() and
// Session::tokens() only read, and still work. A child that calls exec or _exit at once is not affected.
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

// Says what the ranks of an engine divide among themselves.
enum class RankSplit {
  kTensor,   // the model: each has its heads and its part of the MLP, of all tokens (tensor parallelism)
  kContext,  // every prompt and its KV pages: each has the whole model (context parallelism). For contexts
             // whose pages one device cannot hold; decoding gains nothing by it.
};

struct SEER_API EngineOptions {
  std::string model_dir;  // config.json, *.safetensors[.index.json], tokenizer files
  // A folder with gates for prompts or gates for decoding (config.json, attn_gate_weights.pth or
  // .safetensors), or a folder that has such a folder of each kind. Empty: no gates, dense only.
  std::string gates_dir;
  std::string more_gates_dir;  // a second folder with gates, of the other kind; may be empty
  std::string
      random_config;  // instead of model_dir and gates_dir: a config.json whose shape gets random weights,
                      // and random gates if it has seerattn_* keys; for measuring. No tokenizer.
  std::string device = "auto";  // auto (cuda:0 if it can be used, else cpu), cpu, cuda or cuda:N
  int threads = 0;              // CPU threads; 0: as many as usable_cores()
  // The most tokens of a session. 0: max_position_embeddings, or less if the attention window is shorter, if
  // pool_size is smaller, or if less fits on the GPU.
  int64_t ctx_size = 0;
  int64_t chunk_size = 0;  // prompt tokens computed at a time, a multiple of EngineInfo::page_tokens; 0: 1024
                           // on a CPU, 8192 on a GPU
  // Requests share steps. In each step, every request that decodes gets one token, and waiting prompts share
  // a chunk.
  int64_t mixed_chunk_size = 0;  // prompt tokens of a step in which other requests decode, a multiple of
                                 // EngineInfo::page_tokens; fewer shorten the time between their tokens, more
                                 // finish prompts sooner; 0: 64 on a CPU, 256 on a GPU
  int64_t max_batch_size = 0;    // requests computed in one step; 0: 16 on a CPU, 64 on a GPU
  int64_t pool_size = 0;     // tokens for which the shared pool of KV pages has room, at least ctx_size; 0:
                             // ctx_size on a CPU, as many as fit on a GPU
  bool prefix_cache = true;  // keep full pages of finished requests, and share pages of equal content
  // Tiers below the pool, which keep KV pages that the pool has no room for. A prompt whose beginning they
  // have is not computed again: the pages are copied back, if that is expected to be faster. They need the
  // prefix cache, and serve the same requests as it. EngineStats says what they did.
  //
  // The folder of the disk's tier, which may not exist yet; empty: none. Its pages serve this and later
  // engines of the same model, also in several processes at once: those of equal weights, gates, types of
  // weights, of keys and values and of products' inputs, and number of ranks. To make sure of that, load()
  // reads all weights once more: 5.5 GB/s were measured on two busy cores. Destroying the engine writes the
  // pages that are not written yet, for 30 seconds at most. Whoever may write to the folder decides what
  // pages hold; whoever may read it can tell which prompts were asked.
  std::string disk_cache_dir;
  // The most bytes that the files of all models in the folder may take together. At least 1 with a folder,
  // and 0 without one.
  int64_t disk_cache_bytes = 0;
  // Bytes of the host's memory for pages that leave a GPU's pool; 0: none. Error{kUsage} on a CPU, whose pool
  // lies in that memory already (pool_size).
  int64_t host_cache_bytes = 0;
  // The type of keys and values in the KV cache: f32, bf16 or auto, which is f32 on a CPU and bf16 on a GPU.
  // A GPU supports bf16 only. On a CPU, bf16 halves the memory of the cache and the bytes that a decoded
  // token reads from it, but rounds keys and values to 8 significant bits when they are stored; f32 stores
  // them as computed.
  std::string kv_cache_dtype = "auto";
  // The type to which the layers' matrices are converted while they are loaded. auto: none, they stay as
  // stored (a GPU turns float32 and float16 into bf16). bf16. fp8: E4M3 with a scale for each output; on a
  // Hopper GPU, products of many tokens round their inputs to E4M3 as well, with a scale for each token,
  // unless `activations` are bf16. int4: in groups of 128 inputs (64 or 32, if 128 do not divide). Codes are
  // rounded to nearest, which loses more than a calibrated checkpoint does. The embedding, lm_head, norms and
  // gates stay as they are. Error{kUnsupported} for a checkpoint that is quantised already.
  std::string weights = "auto";
  // The type to which inputs of matrix products are rounded in steps that compute a prompt, or decode many
  // requests; steps of few tokens round nothing further.
  // auto: f32 on a CPU. On a GPU as the weights' format says: to E4M3 for products of more than 8 tokens with
  // FP8 weights on a Hopper GPU, else bf16.
  // f32: nothing is rounded. Error{kUnsupported} on a GPU.
  // bf16: on a CPU, products with bf16 and quantised weights are about twice as fast; Error{kUnsupported}
  // without AVX512-BF16, and if layers have F16 or F32 weights (see `weights`). On a GPU, inputs of FP8
  // weights stay bf16, which loses less, but prompts take longer, because weights are widened to bf16 first.
  std::string activations = "auto";
  double gpu_memory_utilization = 0.9;  // of the GPU's memory, for weights, activations and KV pages together
  // The processes that compute the model together with this one, which is their rank 0 (seer/ranks.h); null:
  // this process computes alone. One engine at a time may use them. `device` holds for every rank: auto and
  // cuda give each rank of a machine the next GPU.
  std::shared_ptr<Ranks> ranks;
  RankSplit rank_split = RankSplit::kTensor;
  // Called by load() on its thread. false cancels the load: Error{kCancelled}.
  std::function<bool(const LoadProgress&)> on_load;
  // Gets messages that a user may want to see; if absent, they are dropped. Kept as long as the engine,
  // called on any thread that uses the engine, and must not throw.
  std::function<void(LogLevel, const std::string&)> on_log;
};

struct SEER_API GateInfo {
  std::string source;      // the file that the gates came from
  std::string gate_type;   // as configured, "Qavg_Kmaxminavg"
  int64_t gate_block = 0;  // tokens
  int64_t d_gate = 0;
  bool double_linear = false;
  bool last_block_dense = false;
  bool has_head_factors = false;  // factors of heads, which the rule head_threshold=T needs
  SparseRule default_rule;
  int64_t n_params = 0;
};

// The model's gates for decoding (SeerAttention-R).
struct SEER_API DecodeGateInfo {
  std::string source;      // the file that the gates came from
  std::string gate_type;   // as configured, "Qproj_Kmaxminavg"
  int64_t gate_block = 0;  // tokens
  int64_t d_gate = 0;
  bool has_norms = false;
  int64_t start_layer = 0;  // layers before it attend to everything
  SparseDecodeRule default_rule;
  int64_t n_params = 0;
};

// An id that ends a generation, and the files that name it: "generation_config.json",
// "tokenizer_config.json's eos_token <|im_end|>".
struct SEER_API StopId {
  int32_t id = -1;
  std::string source;
};

struct SEER_API ModelInfo {
  std::string architecture;  // "LlamaForCausalLM"
  std::string dtype;         // of most weights: "BF16", "F16", "F32", or of codes: "F8_E4M3", "I8", "int4"
  // How linear layers are quantised, for people: "fp8, dynamic: 224 of 225 linear layers, 8.01 bits a weight
  // (E4M3), 8.94 with embeddings and all else that is plain; plain: lm_head". Begins with "--weights" if
  // EngineOptions::weights asked for it. Empty if no layer is quantised.
  std::string quantisation;
  std::string rope;  // "default", "llama3, factor 8", ...
  int64_t n_layers = 0, n_heads = 0, n_kv_heads = 0, d_head = 0, d_model = 0, d_ff = 0, n_vocab = 0;
  int64_t max_positions = 0;      // max_position_embeddings
  std::optional<int64_t> window;  // tokens that sliding-window attention reaches back to, if the model has
                                  // it; no context is longer
  double rope_theta = 0.0, rms_norm_eps = 0.0;
  bool tied_embeddings = false;
  int64_t n_params = 0, n_bytes = 0;  // weights, gates apart; bytes as stored, or as EngineOptions::weights
  std::vector<int32_t> eos_ids;       // any of these ends a generation; all of stop_ids
  std::vector<StopId> stop_ids;       // the same ids, with the files that name each
  // Those of generation_config.json: greedy if it says do_sample false; temperature 1 if the file exists but
  // has no temperature. Seer's own defaults if there is no such file.
  SamplingParams default_sampling;
  std::optional<GateInfo> gates;
  std::optional<DecodeGateInfo> decode_gates;
  std::vector<std::string> config_notes;  // sentences about keys of config.json and generation_config.json
                                          // that are ignored, or read in a way that may surprise
};

// Throw Error{kUsage} if the model cannot run under a rule: if it lacks the gates that the rule needs, if the
// rule's value is out of range, or if a budget is below one block of the gates. A request under such a rule
// is refused for the same reason. May be called on any thread.
SEER_API void check_rule(const SparseRule& rule, const ModelInfo& model);
SEER_API void check_rule(const SparseDecodeRule& rule, const ModelInfo& model);

struct SEER_API EngineInfo {
  std::string device;            // "cpu (2 threads, AVX-512, OpenBLAS SkylakeX)"
  int64_t ctx_size = 0;          // tokens
  int64_t chunk_size = 0;        // tokens
  int64_t page_tokens = 0;       // tokens of a KV page: as many as in a block of the gates, 64 without gates
  int64_t n_pages = 0;           // of all ranks together if they divide prompts
  int64_t kv_bytes = 0;          // of each rank's part of the pool, gate keys included
  int64_t mixed_chunk_size = 0;  // tokens
  int64_t max_batch_size = 0;    // requests
  bool prefix_cache = false;
  int64_t n_ranks = 1;
  RankSplit rank_split = RankSplit::kTensor;
  int64_t max_ctx_size = 0;    // tokens: the largest context that the model was made for
  std::string kv_cache_dtype;  // "f32" or "bf16": the type of keys and values in pages
  // The type to which inputs of products of many tokens are rounded: "f32" (not at all), "bf16", or "fp8" on
  // a GPU that rounds those of the layers' FP8 weights to E4M3.
  std::string activations;
  int64_t step_bytes = 0;  // the memory that steps work in, of each rank: activations and lists of blocks
};

// Returns how many CPU cores this process may use, at least 1: those of its affinity mask, or fewer if its
// cgroups (a container's CPU limit) grant less time. A quota of 1.5 cores counts as 2. Never fails.
SEER_API int usable_cores();

class Session;

// What Session::save() has written, or Engine::load_session() has read.
struct SEER_API SavedSession {
  int64_t n_tokens = 0;
  int64_t n_bytes = 0;     // of the file
  int64_t page_bytes = 0;  // of each page in the file; a page has EngineInfo::page_tokens tokens
  std::string note;        // the note that save() was given
};

// An immutable model with its page pool, and the thread that computes submitted requests. All functions may
// be called from many threads at once; references that they return are valid as long as the engine.
// Destroying it ends its submitted requests as cancelled. That must not happen on the engine's own thread, so
// no callback may hold the last reference to it.
class SEER_API Engine : public std::enable_shared_from_this<Engine> {
 public:
  // Throws Error: kFile or kUnsupported for the files, kUsage for the options, kMemory, kDevice, kCancelled.
  // The files must not change while the engine lives, because a CPU uses the weights in the mapped files.
  static std::shared_ptr<Engine> load(const EngineOptions& options);
  virtual ~Engine() = default;

  virtual const ModelInfo& model() const = 0;  // never fails
  virtual const EngineInfo& info() const = 0;  // never fails
  // Throws Error{kFile} if the model folder has no tokenizer; without one, a model can still be used by token
  // ids.
  virtual const Tokenizer& tokenizer() const = 0;
  // Returns an empty conversation, which takes pages as it grows. A session keeps its engine alive.
  virtual std::unique_ptr<Session> new_session() = 0;
  // Queues a request that belongs to no conversation, and returns at once. Throws Error{kUsage} for the same
  // requests as Session::generate.
  //
  // The callbacks run on the engine's thread, between the steps of all requests: they must be quick and must
  // not wait for another request. Returning false stops the request, and an exception fails this request
  // only.
  //
  // A request that fits the context runs to its end whatever other requests there are. If pages run short,
  // the youngest request gives its pages back and computes them again later, which its user notices only by
  // the time. But if the pages that open sessions hold leave too few, wait() throws Error{kMemory}.
  virtual std::unique_ptr<Generation> submit(GenerateRequest request) = 0;
  virtual EngineStats stats() const = 0;  // throws in a forked process only
  // Returns the error with which every request fails from now on, or nothing as long as the engine can
  // compute, which an engine on a CPU without other ranks always can. There is an error if its GPU has
  // failed, or if another of its ranks (seer/ranks.h) has failed, was killed, or did not answer in time. It
  // is noticed at once while requests are computed, and within a second otherwise. After the loss of a rank,
  // destroy the engine and load another one. After the failure of a GPU, end this process and start another,
  // because the GPU does not answer this one any more. Throws in a forked process only.
  virtual std::optional<Error> failure() const { return std::nullopt; }
  // Returns the conversation that Session::save() wrote to `path`, in this process or in another one. It goes
  // on as if it had never been in a file: every answer is the same, bit for bit on a CPU. Its pages are read
  // and not computed. If `saved` is given, it is filled. The first call reads all weights of the model once,
  // to make sure that the session's pages are this model's.
  //
  // Throws Error{kFile} if the file is not a session, is damaged, was cut short or is of a newer version, or
  // if the session was computed with another model, with other gates, in other types or on other ranks, and
  // says what differs. Nothing of such a file is used. Throws kUsage if the session is longer than the
  // context, kMemory as Session::generate does, and kDevice. Checksums tell damage; they cannot tell a file
  // that was forged on purpose. So load only files of those whom you trust as you trust the model's files.
  virtual std::unique_ptr<Session> load_session(const std::string& path, SavedSession* saved = nullptr) = 0;
};

// One conversation and its KV pages. One thread at a time, not always the same one; only cancel() may be
// called from any thread at any time. A session's own callbacks may call only its cancel(). Destroying the
// session frees its pages; no request of it may be running then.
class SEER_API Session {
 public:
  virtual ~Session() = default;

  // Appends the prompt, prefills the tokens that the cache does not hold, then decodes. Returns when the
  // generation has ended; if it was cancelled, the result has FinishReason::kCancelled. Throws Error{kUsage}
  // for an empty prompt, ids out of range, a prompt beyond the context, sampling out of range, or a sparse
  // rule without gates; kMemory if the pages that other sessions hold between their requests leave too few;
  // kDevice. After an error or a cancel, tokens() says what the session still holds: whole pages that had
  // been computed stay cached.
  virtual GenerateResult generate(const GenerateRequest& request) = 0;
  // Prefills request.tokens from an empty session and reports logits (and gate rows) on the way; the session
  // then holds those tokens. Throws the errors of generate(), and Error{kCancelled} if it was cancelled.
  virtual RequestStats evaluate(const EvaluateRequest& request) = 0;

  // Returns the tokens that the session holds; the reference is valid until the next call other than
  // cancel(). Never fails.
  virtual const std::vector<int32_t>& tokens() const = 0;
  virtual void reset() = 0;  // forgets the tokens and frees the pages; throws in a forked process only
  // Stops the running request at the next token or chunk; does nothing if none is running. May be called from
  // any thread, any number of times.
  virtual void cancel() noexcept = 0;
  // Writes the conversation with its pages to `path`, for Engine::load_session(). The file is complete and on
  // the disk when it appears under this name; until then, a file that was there before stays as it is. `note`
  // is kept in the file for the caller, who may put into it whatever belongs to the conversation.
  //
  // The file holds the keys and values of every token, in the type in which the engine has them
  // (EngineInfo::kv_cache_dtype): SavedSession::page_bytes for each page of EngineInfo::page_tokens tokens.
  // The first call reads all weights of the model once, as load_session() does. Throws Error{kRuntime} if the
  // file cannot be written, and kDevice.
  virtual SavedSession save(const std::string& path, const std::string& note = {}) = 0;
};

}  // namespace seer
