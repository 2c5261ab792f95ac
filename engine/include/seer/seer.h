/* libseer_engine for C (C99) and for languages that call C. It is the engine of seer/engine.h, whose comments
 * say more about the meaning of the fields.
 *
 * Errors. A function that can fail returns a seer_status. If it is not SEER_OK, seer_last_error() says what
 * was expected, what was found and what to do about it, and no output has been written unless the function's
 * comment says otherwise. A null handle or a null required pointer is SEER_ERROR_USAGE. No C++ exception
 * leaves the library, and none may leave a callback.
 *
 * Threads. A session may be used by one thread at a time, everything else by many threads at once. A callback
 * may call the library, but not for the session that called it. seer_session_cancel() is the exception from
 * both rules: any thread and any callback may call it.
 *
 * Processes. An engine works only in the process that loaded it, because a process that is forked from that
 * one lacks the engine's threads. There, functions that compute, wait or count return SEER_ERROR_USAGE,
 * functions that cancel do nothing, and the _free functions of an engine, a session, a generation and ranks
 * free only the handle. The functions for text and token ids, seer_engine_get_info and seer_session_tokens
 * still work.
 *
 * Lifetimes. The caller owns the results of seer_..._new, _load, _encode and _decode, and must free each
 * once, by the function that the comment names. Strings and arrays that go in are copied before the function
 * returns; comments say how long pointers that come out are valid. Strings are UTF-8 and end in a zero byte,
 * which sizes do not count.
 *
 * Structs that grow. Before a struct with a `size` is filled in, its _init function must be called with
 * sizeof of the struct. It sets the fields to their defaults, and the program keeps working with a later
 * library whose struct is longer: zero in a field that a later version adds means the behaviour of this
 * version. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "seer/export.h"
#include "seer/version.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct seer_engine seer_engine;         /* a loaded model and its KV pages */
typedef struct seer_session seer_session;       /* one conversation */
typedef struct seer_generation seer_generation; /* a submitted request */
typedef struct seer_ranks seer_ranks;           /* processes that compute one model together */

/* Kinds of errors, as seer::ErrorKind. */
typedef enum seer_status {
  SEER_OK = 0,
  SEER_ERROR_USAGE = 1,       /* an argument or option is wrong; the caller can correct it */
  SEER_ERROR_FILE = 2,        /* a file is missing, unreadable or malformed */
  SEER_ERROR_UNSUPPORTED = 3, /* a well-formed file or request that Seer does not handle */
  SEER_ERROR_MEMORY = 4,      /* memory, pages or context exhausted */
  SEER_ERROR_DEVICE = 5,      /* the device or its driver failed */
  SEER_ERROR_CANCELLED = 6,   /* stopped by the caller */
  SEER_ERROR_RUNTIME = 7      /* an operation failed while running */
} seer_status;

/* Returns the SEER_VERSION of the library that runs. Do not free the result. Any thread. */
SEER_API const char* seer_version(void);
/* Returns "usage", "file", ...; "ok" for SEER_OK, and "unknown" for any other number. Do not free the result.
 * Any thread. */
SEER_API const char* seer_status_name(seer_status status);
/* Returns the message of the calling thread's last call that failed, or "" if none has failed. It is valid
 * until that thread's next call that fails. */
SEER_API const char* seer_last_error(void);
/* Frees an array or a text that seer_encode, seer_encode_chat, seer_encode_chat_prompt, seer_render_chat or
 * seer_decode returned. Null is fine. Any thread. */
SEER_API void seer_free(void* memory);

/* Returns the path of the file that the library has mapped at an address, or null if there is none. It is
 * safe in a signal handler: a handler of SIGBUS passes si_addr to it, to learn which of a model's files was
 * cut short while it was used (seer/mapped_files.h). The result is valid as long as the engine. */
SEER_API const char* seer_mapped_file_at(const void* address);

/* --- Ranks (seer/ranks.h): one model on several devices or machines. ---
 *
 * Each of several processes, the ranks, holds a part of the model or of its prompts. Rank 0 is the program as
 * it is without ranks, with seer_engine_options.ranks; the others follow it:
 *
 *   seer_ranks* ranks;
 *   int completed = 0;
 *   if (seer_ranks_join(&ranks) != SEER_OK) return 1;    started by mpirun or by seer_ranks_start?
 *   if (seer_ranks_rank(ranks) > 0) {
 *     if (seer_ranks_follow(ranks, &completed) != SEER_OK) fprintf(stderr, "%s\n", seer_last_error());
 *     seer_ranks_free(ranks);
 *     return completed ? 0 : 1;
 *   }
 *   options.ranks = ranks;                               rank 0, or alone: goes on as without ranks */

/* Says what the ranks of an engine divide among themselves, as seer::RankSplit. */
typedef enum seer_rank_split {
  SEER_RANK_SPLIT_TENSOR = 0, /* the model: each has its heads, its part of the MLP and the vocabulary */
  SEER_RANK_SPLIT_CONTEXT = 1 /* every prompt and its KV pages: each has the whole model */
} seer_rank_split;

/* Joins the ranks if mpirun or seer_ranks_start() started this process; in a process that was started alone,
 * *ranks is null and the status SEER_OK. Call it once, before other threads start. If it fails, *ranks is
 * null: SEER_ERROR_DEVICE if the ranks do not come together, SEER_ERROR_UNSUPPORTED if mpirun started this
 * process and the build has no MPI. Free with seer_ranks_free. */
SEER_API seer_status seer_ranks_join(seer_ranks** ranks);
/* Starts n - 1 processes of `command` ([n_command]: a program's path, then its arguments) on this machine,
 * and makes this process rank 0. The started processes must call seer_ranks_join() and seer_ranks_follow().
 * If it fails, *ranks is null: SEER_ERROR_USAGE if n is out of range, or n > 1 and there is no command;
 * SEER_ERROR_DEVICE if the processes cannot be started. Free with seer_ranks_free. */
SEER_API seer_status seer_ranks_start(seer_ranks** ranks, int32_t n, const char* const* command,
                                      size_t n_command);
/* Frees the handle. The processes end after that, but not before an engine that was loaded with them, and its
 * sessions, are freed. Null is fine. No other thread may be using the handle. */
SEER_API void seer_ranks_free(seer_ranks* ranks);

/* Return the number of this rank, and of all ranks. They never fail. Null stands for a program without ranks,
 * which is rank 0 of 1. Any thread. */
SEER_API int32_t seer_ranks_rank(const seer_ranks* ranks);
SEER_API int32_t seer_ranks_size(const seer_ranks* ranks);
/* Returns how many ranks, this one included, may run on the same CPU cores. */
SEER_API int32_t seer_ranks_core_sharers(const seer_ranks* ranks);

/* Sets how many seconds a rank waits for the others within a step before it gives up; 60 unless set. Call it
 * on rank 0, which tells the others, and before the engine is loaded. SEER_ERROR_USAGE if the time is not
 * above 0 or is too long. */
SEER_API seer_status seer_ranks_set_timeout(seer_ranks* ranks, double seconds);
/* Must be called on ranks other than 0, on one thread. Loads and computes the parts that rank 0 asks for, and
 * returns when rank 0 has freed its ranks or a rank has failed. *completed, which may be null, is 1 in the
 * first case and 0 in the second. After a failure, report the error only if the status is not SEER_OK: with
 * SEER_OK rank 0 reports it, otherwise no other rank can. SEER_ERROR_USAGE on rank 0. */
SEER_API seer_status seer_ranks_follow(seer_ranks* ranks, int* completed);

/* --- An engine. --- */

typedef enum seer_log_level { SEER_LOG_INFO = 0, SEER_LOG_WARNING = 1 } seer_log_level;

typedef struct seer_engine_options {
  size_t size;
  const char* model_dir; /* config.json, *.safetensors, tokenizer files; required unless random_config */
  const char* gates_dir; /* null: no gates, dense only; see seer::EngineOptions */
  const char*
      random_config;  /* instead: a config.json whose shape gets random weights, to measure; no tokenizer */
  const char* device; /* null or "auto", "cpu", "cuda", "cuda:N" */
  int32_t threads;    /* of the CPU; 0: one a core, within the container's CPU limit */
  int64_t ctx_size;   /* tokens; 0: the model's maximum, or what fits on the GPU */
  int64_t chunk_size; /* prompt tokens computed at a time; 0: the device's default */
  double gpu_memory_utilization; /* (0, 1]; 0: the default, 0.9 */
  void* user;                    /* handed to the callbacks below */
  /* Called while weights are read, on the thread that loads. 0 cancels the load: SEER_ERROR_CANCELLED. May be
   * null. */
  int (*on_load)(void* user, int64_t bytes_done, int64_t bytes_total);
  /* Gets messages that a user may want to see; null: they are dropped. Called on any thread that uses the
   * engine, as long as the engine or a session of it exists; `user` must be valid as long. `message` is valid
   * during the call. */
  void (*on_log)(void* user, seer_log_level level, const char* message);
  int64_t mixed_chunk_size; /* prompt tokens of a step in which others decode; 0: the device's default */
  int64_t max_batch_size;   /* requests computed in one step; 0: the device's default */
  int64_t pool_size;       /* tokens for which the page pool has room; 0: ctx_size, or what fits on the GPU */
  int32_t no_prefix_cache; /* 1: no page is kept for other requests or shared with them */
  /* The processes that compute the model together with this one, which is their rank 0; null: this process
   * computes alone. One engine at a time may use them. `device` holds for every rank: auto and cuda give each
   * rank of a machine the next GPU. The handle may be freed once the engine is loaded, because the engine
   * keeps the ranks. */
  seer_ranks* ranks;
  int32_t rank_split; /* a seer_rank_split; SEER_ERROR_USAGE for any other value */
  /* The type of keys and values in the KV cache: null or "auto" (f32 on a CPU, bf16 on a GPU), "f32", "bf16".
   * SEER_ERROR_UNSUPPORTED for a type that the device does not have. */
  const char* kv_cache_dtype;
  /* The type of the layers' matrices: null or "auto" (as stored), "bf16", "fp8", "int4": see
   * EngineOptions::weights. SEER_ERROR_UNSUPPORTED if the checkpoint is quantised already. */
  const char* weights;
  /* The type to which inputs of matrix products are rounded in steps that compute a prompt: null or "auto" (a
   * CPU rounds nothing; a GPU uses bf16, and a Hopper GPU E4M3 for FP8 weights), "f32" (nothing is rounded),
   * "bf16" (inputs of FP8 weights too): see EngineOptions::activations. SEER_ERROR_UNSUPPORTED for f32 on a
   * GPU, for bf16 on a processor without AVX512-BF16, and for bf16 on a CPU if layers have F16 or F32 weights
   * (see `weights`). */
  const char* activations;
  /* A second folder of gates, of the other kind: gates_dir and this one name gates for prompts and gates for
   * decoding, in any order. null: none. */
  const char* more_gates_dir;
  /* Tiers that keep the KV pages for which the pool has no room; see EngineOptions. The disk's: a folder,
   * null or "" for none, and the bytes that all files in it may have together. The host's, for a GPU only:
   * bytes of the host's memory; 0: none. */
  const char* disk_cache_dir;
  int64_t disk_cache_bytes, host_cache_bytes;
} seer_engine_options;

/* SEER_ERROR_USAGE for a null pointer or a wrong `size`. */
SEER_API seer_status seer_engine_options_init(seer_engine_options* options, size_t size);

/* Loads a model. If it fails, *engine is null: SEER_ERROR_FILE or _UNSUPPORTED for the files, _USAGE for the
 * options, _MEMORY, _DEVICE, _CANCELLED. Free with seer_engine_free. */
SEER_API seer_status seer_engine_load(seer_engine** engine, const seer_engine_options* options);
/* Frees the handle. Sessions that are still open keep the model until they are freed. If there are none,
 * submitted requests end as cancelled. Null is fine. No other thread and no callback may be using the handle.
 */
SEER_API void seer_engine_free(seer_engine* engine);

typedef struct seer_engine_info {
  size_t size;
  /* The strings up to chat_template are valid as long as the handle. */
  const char* device;        /* "cpu (2 threads, ...)" */
  const char* architecture;  /* "LlamaForCausalLM" */
  const char* default_rule;  /* of prompts that name none: "threshold=0.002"; "dense" without gates */
  const char* chat_template; /* the file of the model's template; "" if none can be used */
  int64_t ctx_size;          /* most tokens of a session */
  int64_t chunk_size;        /* tokens */
  int64_t page_tokens;       /* tokens of a KV page, the gate block */
  int64_t n_pages;           /* of the pool; of all ranks together if they divide prompts */
  int64_t kv_bytes;          /* of the pool, for each rank */
  int64_t n_vocab;           /* ids are in [0, n_vocab) */
  int64_t n_layers, n_heads, n_kv_heads, d_head, d_model;
  int64_t n_params, n_bytes; /* weights, gates apart */
  int32_t has_gates;         /* 0 or 1 */
  int32_t has_tokenizer;     /* 0 or 1 */
  int64_t mixed_chunk_size;  /* tokens */
  int64_t max_batch_size;    /* requests */
  int64_t n_ranks;           /* 1: alone */
  int32_t rank_split;        /* a seer_rank_split */
  /* The ids that end a generation as EOS does, and the files that name them; [n_stop_ids] both, valid as long
   * as the handle. */
  const int32_t* stop_ids;
  const char* const* stop_id_sources;
  size_t n_stop_ids;
  const char* kv_cache_dtype; /* "f32" or "bf16"; valid as long as the handle */
  /* "f32", "bf16", or "fp8" on a GPU that rounds inputs of the layers' FP8 weights to E4M3; valid as long as
   * the handle. */
  const char* activations;
  /* The rule for decoding of requests that name none: "budget=4096", say; "dense" without gates for decoding.
   * Valid as long as the handle. */
  const char* default_decode_rule;
  int64_t
      decode_start_layer;   /* layers before it attend to everything when they decode; 0 without such gates */
  int32_t has_decode_gates; /* 0 or 1: gates for decoding; has_gates is of gates for prompts */
} seer_engine_info;

/* Describes the engine. `size` is sizeof(seer_engine_info). SEER_ERROR_USAGE for null pointers or a wrong
 * size. */
SEER_API seer_status seer_engine_get_info(const seer_engine* engine, seer_engine_info* info, size_t size);

/* --- Text and tokens. SEER_ERROR_FILE if the model folder has no tokenizer. --- */

enum {
  SEER_ENCODE_PLAIN = 0,
  SEER_ENCODE_ADD_SPECIAL = 1,  /* BOS and EOS as the model's files say; usual for a prompt */
  SEER_ENCODE_PARSE_SPECIAL = 2 /* special tokens written out in the text become those tokens */
};

/* Turns a text into token ids. `text` has text_size bytes, and zero bytes may be among them. The caller must
 * free *ids by seer_free; it is null if n_ids is 0. SEER_ERROR_USAGE for unknown flags. */
SEER_API seer_status seer_encode(const seer_engine* engine, const char* text, size_t text_size,
                                 uint32_t flags, int32_t** ids, size_t* n_ids);

typedef struct seer_chat_message {
  const char* role; /* "system", "user" or "assistant" */
  const char* content;
} seer_chat_message;

/* Turns a conversation into the token ids of a prompt that ends where the assistant's answer begins.
 * chat_template is null for the model's own template, or names a file that holds a Jinja template, or is
 * "llama2", "llama3", "chatml", "mistral" or "none". SEER_ERROR_USAGE for a template that is unknown or
 * missing; SEER_ERROR_UNSUPPORTED for one that cannot be interpreted or refuses the conversation. *ids is as
 * in seer_encode. */
SEER_API seer_status seer_encode_chat(const seer_engine* engine, const seer_chat_message* messages,
                                      size_t n_messages, const char* chat_template, int32_t** ids,
                                      size_t* n_ids);

/* The input of a chat template, as seer::ChatPrompt. The texts are JSON in the form of OpenAI's chat API. */
typedef struct seer_chat_prompt {
  size_t size;
  const char* messages;           /* an array of objects */
  const char* tools;              /* an array of objects; null: none */
  const char* kwargs;             /* an object, further variables of the template; null: none */
  const char* chat_template;      /* as in seer_encode_chat */
  int32_t add_generation_prompt;  /* 1: the text ends where the assistant's answer begins */
  int32_t continue_final_message; /* 1: it ends with the content of the last message, to be continued */
  int64_t
      now; /* seconds since 1970 UTC, to the year 9999, for templates that write the date; -1: the clock */
} seer_chat_prompt;

/* SEER_ERROR_USAGE for a null pointer or a wrong `size`. */
SEER_API seer_status seer_chat_prompt_init(seer_chat_prompt* prompt, size_t size);
/* Return the prompt as token ids, and as text. Errors are those of seer_encode_chat, and SEER_ERROR_USAGE for
 * malformed JSON. *ids is as in seer_encode, and *text as in seer_decode. */
SEER_API seer_status seer_encode_chat_prompt(const seer_engine* engine, const seer_chat_prompt* prompt,
                                             int32_t** ids, size_t* n_ids);
SEER_API seer_status seer_render_chat(const seer_engine* engine, const seer_chat_prompt* prompt, char** text,
                                      size_t* text_size);

/* Turns token ids into text. Special tokens are left out unless keep_special is set, and ids without a token
 * have no text. The caller must free *text by seer_free. It ends in a zero byte; text_size may be null. */
SEER_API seer_status seer_decode(const seer_engine* engine, const int32_t* ids, size_t n_ids,
                                 int keep_special, char** text, size_t* text_size);

/* --- Requests. --- */

/* seer::SamplingParams; temperature 0 is greedy. */
typedef struct seer_sampling {
  size_t size;
  double temperature;       /* >= 0 */
  int64_t top_k;            /* 0 and -1 keep all */
  double top_p;             /* [0, 1]; 0 keeps the likeliest token */
  double min_p;             /* [0, 1] */
  double repeat_penalty;    /* > 0; 1: none */
  double presence_penalty;  /* 0: none */
  double frequency_penalty; /* 0: none */
  int64_t repeat_last_n;    /* tokens that repeat_penalty looks at; -1: all */
  uint64_t seed;            /* used if has_seed is set; equal seeds give equal text */
  int32_t has_seed;         /* 0: a fresh random seed */
  /* [n_biases] both. bias_values[i] is added to the logit of bias_ids[i]. Each id is in [0, n_vocab) and
   * occurs once. A value is finite, or -INFINITY, and then the id is never chosen. */
  const int32_t* bias_ids;
  const double* bias_values;
  size_t n_biases;
} seer_sampling;

/* Fills in the parameters of the model's generation_config.json, or Seer's defaults if `engine` is null.
 * SEER_ERROR_USAGE for a null pointer or a wrong `size`. */
SEER_API seer_status seer_sampling_init(seer_sampling* sampling, size_t size, const seer_engine* engine);

typedef struct seer_progress {
  int64_t total;     /* tokens of the prompt, with what the session holds */
  int64_t cached;    /* of these: taken from the cache */
  int64_t processed; /* computed so far */
  double time_ms;    /* since the prefill began */
} seer_progress;

typedef struct seer_request {
  size_t size;
  const int32_t* prompt; /* [n_prompt], appended to what the session holds; together at least one token */
  size_t n_prompt;
  int64_t max_new_tokens;        /* -1: until EOS, a stop string, or the context is full */
  const seer_sampling* sampling; /* null: the model's own */
  const char* const* stop;       /* [n_stop]; generation ends before any of these */
  size_t n_stop;
  /* "dense", "threshold=T", "head_threshold=T", "nz_ratio=R" or "nz_ratio_row=R"; null: the engine's
   * default_rule */
  const char* sparse;
  int32_t ignore_eos; /* 1: EOS ids are never chosen */
  /* Passed to the callbacks below. For a session they run on the calling thread. For a submitted request they
   * run on the engine's thread, between the steps of all requests, so they must be quick. */
  void* user;
  /* Called when a token is chosen. `text` is the text that became certain with it, in whole characters; it
   * may be empty, and is valid during the call. 0 stops the request as seer_session_cancel() does. May be
   * null. */
  int (*on_token)(void* user, int32_t id, const char* text, size_t text_size);
  /* Called before the first chunk of the prompt and after each chunk. 0 stops the request likewise. May be
   * null. */
  int (*on_progress)(void* user, const seer_progress* progress);
  /* Called once when a submitted request has ended, in whatever way: seer_generation_wait does not block any
   * more. Runs on the engine's thread, or on one that runs a session or frees the engine. May be null.
   */
  void (*on_end)(void* user);
  const int32_t* stop_token_ids; /* [n_stop_token_ids], in [0, n_vocab); they end it as EOS does */
  size_t n_stop_token_ids;
  int64_t min_new_tokens; /* no id that ends the request is chosen before this many; 0 to max_new_tokens */
  /* 1: report log-probabilities of each chosen token and of the n_logprobs >= 0 likeliest at its place; 0:
   * none. */
  int32_t has_logprobs;
  /* The same for the tokens of the session and of the prompt. All of them are computed again.
   */
  int32_t has_prompt_logprobs;
  int64_t n_logprobs, n_prompt_logprobs; /* how many likeliest tokens each reports, at most n_vocab */
  /* Gets `tokens` [n_tokens], all tokens before the next one, and may change the logits [n_vocab] from which
   * the next one is chosen; -INFINITY forbids an id. Both arrays are valid during the call. It is called
   * before penalties and biases are applied, on the thread that computes the step. It must be quick, because
   * all requests wait for it, and it may not run a session. 0 fails the request with SEER_ERROR_RUNTIME.
   * Reported log-probabilities are those of the model's logits before this call. May be null. */
  int (*on_logits)(void* user, const int32_t* tokens, size_t n_tokens, float* logits, size_t n_vocab);
  /* The rule by which tokens are decoded: "dense", "budget=N", "threshold=T" or "ratio=R"; null: the engine's
   * default_decode_rule. See seer::SparseDecodeRule. A rule that is malformed, or that the engine's gates
   * cannot follow, fails the request with SEER_ERROR_USAGE. */
  const char* sparse_decode;
} seer_request;

/* SEER_ERROR_USAGE for a null pointer or a wrong `size`. */
SEER_API seer_status seer_request_init(seer_request* request, size_t size);

typedef enum seer_finish {
  SEER_FINISH_LENGTH = 0, /* max_new_tokens */
  SEER_FINISH_EOS = 1,
  SEER_FINISH_STOP_STRING = 2,
  SEER_FINISH_CONTEXT_FULL = 3,
  SEER_FINISH_CANCELLED = 4,
  SEER_FINISH_STOP_TOKEN = 5 /* one of stop_token_ids */
} seer_finish;

/* The natural logarithm of the probability that the model's logits give a token; -INFINITY if it is 0. */
typedef struct seer_logprob {
  int32_t id;
  float logprob;
} seer_logprob;
typedef struct seer_position_logprobs {
  seer_logprob token;      /* of the token at this position */
  const seer_logprob* top; /* [n_top], the likeliest first, the lower id first among equals */
  size_t n_top;
} seer_position_logprobs;

typedef struct seer_result {
  size_t size;
  seer_finish finish;
  /* All pointers of the result belong to the session or to the generation. Those of a session are valid until
   * its next generate or until it is freed, those of a generation until it is freed. */
  const int32_t* tokens; /* [n_tokens], chosen ids without the id that ended it, if one did */
  size_t n_tokens;
  const char* text; /* "" without a tokenizer */
  size_t text_size;
  const char* stop; /* the stop string that was met, "" if none was */
  /* n_prompt: tokens that the prefill computed, including tokens of earlier turns that had to be computed
   * again. n_cached: tokens that were reused. Together they are what the session held and the prompt. */
  int64_t n_prompt, n_cached;
  int64_t n_generated;  /* tokens chosen, a final EOS included */
  int64_t prefill_ns;   /* the first token's choice included */
  int64_t decode_ns;    /* from the first token to the last */
  int64_t attention_ns; /* of prefill_ns */
  /* The part of prefill_ns that sparse prompts spend on gate scores and selection, and on the operation that
   * rotates, stores and pools queries and keys. */
  int64_t gate_ns;
  double density; /* the share of the prefill's causal blocks that was kept */
  /* If ranks divide prompts: the pages that the prefill moved to ranks that lacked them, and the pages that
   * dense attention would have moved, summed over layers and chunks. */
  int64_t moved_pages, movable_pages;
  /* The id that ended the request: EOS, one of stop_token_ids, or a token that a stop string names; -1 if
   * none did. */
  int64_t stop_id;
  /* Null and 0 unless asked for; they and their `top` are valid as long as `tokens`. logprobs has an element
   * for each chosen token, including one that ended the request. prompt_logprobs has one for each token but
   * the first of what the session held followed by the prompt. */
  const seer_position_logprobs* logprobs; /* [n_logprobs] */
  size_t n_logprobs;
  const seer_position_logprobs* prompt_logprobs; /* [n_prompt_logprobs] */
  size_t n_prompt_logprobs;
  /* The share of blocks to which decoded tokens attended, in the layers in which gates choose. A token's
   * blocks are those from the first to its own. 1 if all were kept. */
  double decode_density;
  /* The part of n_cached that came from the host's and the disk's tier, and the part of prefill_ns in which
   * these tokens' pages were brought back. The request may begin to compute the rest of its prompt before the
   * last of them is there. */
  int64_t n_from_host, n_from_disk, restore_ns;
} seer_result;

/* --- A session. --- */

/* Makes an empty conversation. If it fails, *session is null. Free with seer_session_free. */
SEER_API seer_status seer_session_new(seer_session** session, seer_engine* engine);
/* Frees the session and its pages. Null is fine. No request of the session may be running. */
SEER_API void seer_session_free(seer_session* session);

/* Appends the prompt, computes the tokens that the cache does not hold, then decodes. `result` may be null,
 * else result_size is sizeof(seer_result). A cancelled request is SEER_OK with SEER_FINISH_CANCELLED.
 * SEER_ERROR_USAGE for an empty prompt, ids out of range, a prompt beyond the context, sampling out of range,
 * or a sparse rule that is malformed or lacks gates; SEER_ERROR_MEMORY if the page pool is exhausted;
 * SEER_ERROR_DEVICE. After an error or a cancel, seer_session_tokens says what the session still holds. */
SEER_API seer_status seer_session_generate(seer_session* session, const seer_request* request,
                                           seer_result* result, size_t result_size);
/* Stops the running request at its next token or chunk; does nothing if none is running. May be called from
 * any thread and from callbacks, any number of times. Null is fine. */
SEER_API void seer_session_cancel(seer_session* session);
/* Forgets the tokens and frees the pages. */
SEER_API seer_status seer_session_reset(seer_session* session);
/* Returns the tokens that the session holds. *tokens is valid until the session's next call other than
 * seer_session_cancel(), and null if *n_tokens is 0. */
SEER_API seer_status seer_session_tokens(const seer_session* session, const int32_t** tokens,
                                         size_t* n_tokens);
/* Writes the conversation with its pages to a file, which is complete and on the disk when it appears under
 * this name. It holds the keys and values of every token. No request of the session may be running. The first
 * call of this and of seer_session_load reads all weights of the model once. SEER_ERROR_RUNTIME if the file
 * cannot be written; SEER_ERROR_DEVICE. */
SEER_API seer_status seer_session_save(seer_session* session, const char* path);
/* Brings back what seer_session_save wrote, in this process or in another one. It goes on as if it had never
 * been in a file. If it fails, *session is null: SEER_ERROR_FILE if the file is not a session, is damaged,
 * was cut short or is of a newer version, or if it was computed by another model, or by this one in another
 * way; SEER_ERROR_USAGE if it is longer than the context; SEER_ERROR_MEMORY; SEER_ERROR_DEVICE. Load only
 * files of those whom you trust as you trust the model's files. Free with seer_session_free. */
SEER_API seer_status seer_session_load(seer_session** session, seer_engine* engine, const char* path);

/* --- Many requests at once. --- */

/* Queues a request without a session, and returns at once; the engine computes all queued requests together.
 * If it fails, *generation is null: SEER_ERROR_USAGE as in seer_session_generate. Free with
 * seer_generation_free. */
SEER_API seer_status seer_engine_submit(seer_engine* engine, const seer_request* request,
                                        seer_generation** generation);
/* Blocks until the request has ended. `result` may be null, else result_size is sizeof(seer_result). A
 * cancelled request is SEER_OK with SEER_FINISH_CANCELLED. SEER_ERROR_MEMORY if the pages that open sessions
 * hold leave too few; SEER_ERROR_DEVICE. May be called from any thread, any number of times, but from no
 * callback of the request. */
SEER_API seer_status seer_generation_wait(seer_generation* generation, seer_result* result,
                                          size_t result_size);
SEER_API int seer_generation_done(const seer_generation* generation); /* 1: wait would not block */
/* Ends the request at the next step; does nothing if it has ended. May be called from any thread and from
 * callbacks. Null is fine. */
SEER_API void seer_generation_cancel(seer_generation* generation);
/* Cancels the request if it has not ended, and frees the handle. It does not wait: one callback may still be
 * running when it returns. Null is fine. No other thread may be using the handle. */
SEER_API void seer_generation_free(seer_generation* generation);

/* What a tier below the pool holds and has done, as seer::TierStats. This struct does not grow. */
typedef struct seer_tier_stats {
  int64_t n_pages, n_bytes; /* held now */
  int64_t saved_pages;      /* written to the tier */
  int64_t lost_pages;       /* not written: the pool needed their room first, or the tier had none */
  int64_t restored_pages, restored_tokens, restored_bytes; /* brought back into the pool */
  int64_t restore_ns;                                      /* that reading them took */
  int64_t failed_pages; /* damaged or gone when they were to be brought back, and computed again */
} seer_tier_stats;

/* One consistent snapshot, as seer::EngineStats. */
typedef struct seer_engine_stats {
  size_t size;
  int64_t n_waiting, n_running;                  /* requests now */
  int64_t pages_total, pages_used, pages_cached; /* used: held; cached: kept, evictable at once */
  int64_t n_requests, n_finished, n_cancelled, n_failed, n_preempted; /* since the load */
  int64_t prompt_tokens, cached_tokens, generated_tokens, n_steps;
  seer_tier_stats host_cache, disk_cache;
  int64_t
      restore_saved_ns;   /* by how much less time pages from the tiers took than computing was expected to */
  int64_t refused_tokens; /* computed although a tier had them, because that was expected to be faster */
} seer_engine_stats;

/* `size` is sizeof(seer_engine_stats). SEER_ERROR_USAGE for null pointers or a wrong size. */
SEER_API seer_status seer_engine_get_stats(const seer_engine* engine, seer_engine_stats* stats, size_t size);

/* Returns SEER_OK as long as the engine can compute, which an engine on a CPU without other ranks always can.
 * Otherwise returns the status, and sets the message, of the error with which every request fails from then
 * on (seer::Engine::failure()): its GPU has failed, or another of its ranks has failed, was killed or did not
 * answer in time. After the loss of a rank, free the engine and load another one. After the failure of a GPU,
 * end this process and start another, because the GPU does not answer this one any more. */
SEER_API seer_status seer_engine_check(const seer_engine* engine);

#ifdef __cplusplus
}
#endif
