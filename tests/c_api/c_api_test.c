/* The C interface from C99, as another language uses it: c_api_test MODEL_DIR GATES_DIR (the demo model). */
#define _POSIX_C_SOURCE 200809L /* mkstemp */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/c_api/check.h"

static const char* model_dir;
static const char* gates_dir;

/* What callbacks have seen, and when they are to stop. */
typedef struct Seen {
  char text[4096];
  size_t text_size;
  int n_tokens, n_progress, n_load, n_log, n_ends;
  int stop_after; /* tokens; 0: never */
  seer_session* cancel;
  int64_t last_total, last_done;
  int32_t last_id;
} Seen;

static int on_token(void* user, int32_t id, const char* text, size_t text_size) {
  Seen* seen = user;
  CHECK(strlen(text) == text_size);
  if (seen->text_size + text_size < sizeof seen->text) {
    memcpy(seen->text + seen->text_size, text, text_size + 1);
    seen->text_size += text_size;
  }
  seen->last_id = id;
  ++seen->n_tokens;
  if (seen->n_tokens == seen->stop_after && seen->cancel != NULL) seer_session_cancel(seen->cancel);
  return seen->n_tokens != seen->stop_after || seen->cancel != NULL;
}

static pthread_mutex_t ends_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t one_ended = PTHREAD_COND_INITIALIZER;

static void on_end(void* user) {
  Seen* seen = user;
  pthread_mutex_lock(&ends_mutex);
  ++seen->n_ends;
  pthread_cond_signal(&one_ended);
  pthread_mutex_unlock(&ends_mutex);
}

static int on_progress(void* user, const seer_progress* progress) {
  Seen* seen = user;
  ++seen->n_progress;
  seen->last_total = progress->total;
  seen->last_done = progress->cached + progress->processed;
  return 1;
}

static int on_load(void* user, int64_t bytes_done, int64_t bytes_total) {
  Seen* seen = user;
  ++seen->n_load;
  CHECK(bytes_done <= bytes_total);
  return seen->stop_after == 0;
}

static void on_log(void* user, seer_log_level level, const char* message) {
  Seen* seen = user;
  ++seen->n_log;
  CHECK(level == SEER_LOG_INFO || level == SEER_LOG_WARNING);
  CHECK(message[0] != '\0');
}

static seer_engine_options options(Seen* seen) {
  seer_engine_options o;
  CHECK(seer_engine_options_init(&o, sizeof o) == SEER_OK);
  o.model_dir = model_dir;
  o.gates_dir = gates_dir;
  o.device = "cpu";
  o.threads = 2;
  o.ctx_size = 1024;
  o.user = seen;
  if (seen != NULL) {
    o.on_load = on_load;
    o.on_log = on_log;
  }
  return o;
}

static seer_request greedy(const int32_t* prompt, size_t n_prompt, int64_t max_new_tokens,
                           const seer_sampling* sampling) {
  seer_request r;
  CHECK(seer_request_init(&r, sizeof r) == SEER_OK);
  CHECK(r.max_new_tokens == -1);
  r.prompt = prompt;
  r.n_prompt = n_prompt;
  r.max_new_tokens = max_new_tokens;
  r.sampling = sampling;
  r.ignore_eos = 1;
  return r;
}

static seer_sampling greedy_sampling(void) {
  seer_sampling s;
  CHECK(seer_sampling_init(&s, sizeof s, NULL) == SEER_OK);
  CHECK(s.top_p == 1.0 && s.repeat_penalty == 1.0 && s.has_seed == 0);
  s.temperature = 0.0;
  return s;
}

static void versions_and_names(void) {
  CHECK(strcmp(seer_version(), SEER_VERSION) == 0);
  CHECK(SEER_VERSION_NUMBER == SEER_VERSION_MAJOR * 10000 + SEER_VERSION_MINOR * 100 + SEER_VERSION_PATCH);
  CHECK(strcmp(seer_last_error(), "") == 0);
  CHECK(strcmp(seer_status_name(SEER_OK), "ok") == 0);
  CHECK(strcmp(seer_status_name(SEER_ERROR_UNSUPPORTED), "unsupported") == 0);
  CHECK(strcmp(seer_status_name((seer_status)99), "unknown") == 0);
}

static void loads_that_fail(void) {
  seer_engine* engine = (seer_engine*)&engine; /* not null, because a failed load must set it to null */
  Seen seen;
  seer_engine_options o = options(NULL);
  memset(&seen, 0, sizeof seen);
  o.model_dir = "/no/such/model";
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_FILE, "/no/such/model");
  CHECK(engine == NULL);
  o = options(NULL);
  o.model_dir = NULL;
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_USAGE, "model_dir");
  o = options(NULL);
  o.device = "tpu";
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_USAGE, "'tpu'");
  o = options(NULL);
  o.device = "cuda";
  o.activations = "f32";
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_UNSUPPORTED, "Leave out --activations");
  o = options(NULL);
  o.size = 0; /* never prepared */
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_USAGE, "_init");
  CHECK_FAILS(seer_engine_load(&engine, NULL), SEER_ERROR_USAGE, "found null");
  o = options(NULL);
  CHECK_FAILS(seer_engine_load(NULL, &o), SEER_ERROR_USAGE, "found null");
  seen.stop_after = 1;
  o = options(&seen);
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_CANCELLED, "cancelled");
  CHECK(engine == NULL && seen.n_load == 1);
  seer_engine_free(NULL);
  seer_session_free(NULL);
  seer_session_cancel(NULL);
  seer_free(NULL);
}

static void warnings_reach_the_sink(void) {
  seer_engine* engine = NULL;
  Seen seen;
  seer_engine_options o;
  memset(&seen, 0, sizeof seen);
  o = options(&seen);
  o.ctx_size = 20000; /* beyond the positions the model was made for */
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  CHECK(seen.n_log == 1);
  seer_engine_free(engine);
}

/* A program of another version: its struct is shorter or longer than the library's. */
static void structs_of_other_versions(void) {
  struct {
    seer_engine_options known;
    double later;
  } longer;
  seer_engine* engine = NULL;
  const size_t shorter = offsetof(seer_engine_options, gpu_memory_utilization);
  seer_engine_options o;
  memset(&longer, 0xff, sizeof longer);
  CHECK(seer_engine_options_init(&longer.known, sizeof longer) == SEER_OK);
  CHECK(longer.later == 0.0);
  longer.known.model_dir = model_dir;
  longer.known.device = "cpu";
  longer.known.ctx_size = 64;
  CHECK(seer_engine_load(&engine, &longer.known) == SEER_OK);
  seer_engine_free(engine);
  longer.later = 1.0;
  CHECK_FAILS(seer_engine_load(&engine, &longer.known), SEER_ERROR_USAGE, "does not know");

  memset(&o, 0xff, sizeof o);
  CHECK(seer_engine_options_init(&o, shorter) == SEER_OK);
  CHECK(((unsigned char*)&o)[shorter] == 0xff);
  o.model_dir = model_dir;
  o.device = "cpu";
  o.ctx_size = 64;
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  seer_engine_free(engine);
}

static void describes_the_engine(seer_engine* engine, const Seen* seen) {
  seer_engine_info info;
  CHECK(seen->n_load > 0);
  CHECK(seer_engine_get_info(engine, &info, sizeof info) == SEER_OK);
  CHECK(strncmp(info.device, "cpu", 3) == 0);
  CHECK(strcmp(info.architecture, "LlamaForCausalLM") == 0);
  CHECK(strcmp(info.default_rule, "threshold=0.002") == 0);
  CHECK(info.ctx_size == 1024 && info.page_tokens == 64 && info.n_vocab == 4096);
  CHECK(info.n_layers == 6 && info.n_heads == 4 && info.n_kv_heads == 2 && info.d_head == 64);
  CHECK(info.has_gates == 1 && info.has_tokenizer == 1);
  CHECK(strcmp(info.kv_cache_dtype, "f32") == 0);
  CHECK(strcmp(info.activations, "f32") == 0);
  CHECK_FAILS(seer_engine_get_info(engine, &info, 0), SEER_ERROR_USAGE, "sizeof");
  CHECK_FAILS(seer_engine_get_info(NULL, &info, sizeof info), SEER_ERROR_USAGE, "seer_engine");
}

static void chats(seer_engine* engine) {
  seer_chat_prompt prompt;
  int32_t* ids = NULL;
  int32_t* same = NULL;
  char* text = NULL;
  size_t n = 0, n_same = 0, size = 0;
  const seer_chat_message hello = {"user", "Hello"};
  CHECK(seer_chat_prompt_init(&prompt, sizeof prompt) == SEER_OK);
  prompt.messages = "[{\"role\": \"user\", \"content\": \"Hello\"}]";
  prompt.chat_template = "llama2";
  CHECK(seer_render_chat(engine, &prompt, &text, &size) == SEER_OK);
  CHECK(strcmp(text, "<s>[INST] Hello [/INST]") == 0 && size == strlen(text));
  seer_free(text);
  CHECK(seer_encode_chat_prompt(engine, &prompt, &ids, &n) == SEER_OK);
  CHECK(seer_encode_chat(engine, &hello, 1, "llama2", &same, &n_same) == SEER_OK);
  CHECK(n == n_same && memcmp(ids, same, n * sizeof *ids) == 0);
  seer_free(ids);
  seer_free(same);
  prompt.messages =
      "[{\"role\": \"user\", \"content\": \"Hello\"}, {\"role\": \"assistant\", \"content\": \"Well\"}]";
  prompt.continue_final_message = 1;
  CHECK(seer_render_chat(engine, &prompt, &text, NULL) == SEER_OK);
  CHECK(strcmp(text, "<s>[INST] Hello [/INST] Well") == 0);
  seer_free(text);
  prompt.messages = "{";
  CHECK_FAILS(seer_render_chat(engine, &prompt, &text, NULL), SEER_ERROR_USAGE, "messages");
  prompt.messages = NULL;
  CHECK_FAILS(seer_encode_chat_prompt(engine, &prompt, &ids, &n), SEER_ERROR_USAGE, "messages");
  CHECK_FAILS(seer_encode_chat(engine, &hello, 1, NULL, &ids, &n), SEER_ERROR_USAGE, "chat template");
}

static void text_goes_round(seer_engine* engine) {
  static const char kText[] = "The old house";
  const seer_chat_message hello = {"user", "Hello"};
  const seer_chat_message broken = {"user", NULL};
  const int32_t out_of_range = 4096;
  int32_t* ids = NULL;
  char* text = NULL;
  size_t n = 0, size = 0;
  CHECK(seer_encode(engine, kText, strlen(kText), SEER_ENCODE_ADD_SPECIAL, &ids, &n) == SEER_OK);
  CHECK(n == 4 && ids[0] == 1);
  CHECK(seer_decode(engine, ids, n, 0, &text, &size) == SEER_OK);
  CHECK(size == strlen(kText) && strcmp(text, kText) == 0);
  seer_free(text);
  CHECK(seer_decode(engine, ids, n, 1, &text, NULL) == SEER_OK);
  CHECK(strlen(text) > size);
  seer_free(text);
  seer_free(ids);

  CHECK(seer_encode(engine, NULL, 0, SEER_ENCODE_PLAIN, &ids, &n) == SEER_OK);
  CHECK(ids == NULL && n == 0);
  CHECK(seer_decode(engine, NULL, 0, 0, &text, &size) == SEER_OK);
  CHECK(size == 0 && text[0] == '\0');
  seer_free(text);

  CHECK(seer_encode_chat(engine, &hello, 1, "llama2", &ids, &n) == SEER_OK);
  CHECK(n > 1);
  seer_free(ids);
  chats(engine);
  CHECK_FAILS(seer_encode_chat(engine, &hello, 1, "pigeon", &ids, &n), SEER_ERROR_USAGE, "pigeon");
  CHECK_FAILS(seer_encode_chat(engine, &broken, 1, "llama2", &ids, &n), SEER_ERROR_USAGE, "content");
  CHECK_FAILS(seer_encode(engine, kText, 3, 64, &ids, &n), SEER_ERROR_USAGE, "64");
  CHECK_FAILS(seer_encode(engine, NULL, 3, 0, &ids, &n), SEER_ERROR_USAGE, "text");
  CHECK(seer_decode(engine, &out_of_range, 1, 0, &text, &size) == SEER_OK);
  CHECK(size == 0); /* an id beyond the vocabulary has no text */
  seer_free(text);
}

static void generates(seer_engine* engine, const int32_t* ids, size_t n) {
  const seer_sampling sampling = greedy_sampling();
  seer_request request = greedy(ids, n, 12, &sampling);
  const int32_t* held = NULL;
  size_t n_held = 99;
  int32_t first[12];
  char stop_text[8] = "";
  const char* stop = stop_text;
  seer_session* session = NULL;
  seer_result result;
  Seen seen;
  memset(&seen, 0, sizeof seen);
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  CHECK(seer_session_tokens(session, &held, &n_held) == SEER_OK);
  CHECK(held == NULL && n_held == 0);
  request.user = &seen;
  request.on_token = on_token;
  request.on_progress = on_progress;
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.finish == SEER_FINISH_LENGTH && result.n_tokens == 12 && result.n_generated == 12);
  CHECK(result.n_prompt == (int64_t)n && result.n_cached == 0);
  CHECK(result.prefill_ns > 0 && result.density > 0.0 && result.density <= 1.0);
  CHECK(seen.n_tokens == 12 && seen.last_id == result.tokens[11]);
  CHECK(seen.text_size == result.text_size && strcmp(seen.text, result.text) == 0);
  CHECK(seen.n_progress >= 2 && seen.last_done == seen.last_total && seen.last_total == (int64_t)n);
  CHECK(result.stop[0] == '\0');
  memcpy(first, result.tokens, sizeof first);
  CHECK(seer_session_tokens(session, &held, &n_held) == SEER_OK);
  CHECK(n_held == n + 12 && memcmp(held, ids, n * sizeof *ids) == 0);

  /* After a reset the session gives the same tokens again; this time no result is asked for. */
  CHECK(seer_session_reset(session) == SEER_OK);
  CHECK(seer_session_tokens(session, &held, &n_held) == SEER_OK);
  CHECK(n_held == 0);
  CHECK(seer_session_generate(session, &request, NULL, 0) == SEER_OK);
  CHECK(seer_session_tokens(session, &held, &n_held) == SEER_OK);
  CHECK(n_held == n + 12 && memcmp(held + n, first, sizeof first) == 0);

  /* With a stop string, the result has the text before it, and the string itself. */
  memcpy(stop_text, seen.text + 4, 3);
  CHECK(seer_session_reset(session) == SEER_OK);
  request.stop = &stop;
  request.n_stop = 1;
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.finish == SEER_FINISH_STOP_STRING && strcmp(result.stop, stop_text) == 0);
  CHECK(strstr(result.text, stop_text) == NULL);
  seer_session_free(session);
}

static void rules_and_sampling(seer_engine* engine, const int32_t* ids, size_t n) {
  seer_sampling sampling;
  seer_request request;
  seer_session* session = NULL;
  seer_result dense, sparse, a, b;
  int32_t first[8];
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  request = greedy(ids, n, 1, NULL);
  request.sparse = "dense";
  CHECK(seer_session_generate(session, &request, &dense, sizeof dense) == SEER_OK);
  CHECK(dense.density == 1.0);
  CHECK(seer_session_reset(session) == SEER_OK);
  request.sparse = "nz_ratio=0.2";
  CHECK(seer_session_generate(session, &request, &sparse, sizeof sparse) == SEER_OK);
  CHECK(sparse.density < 1.0);
  CHECK(seer_session_reset(session) == SEER_OK);
  request.sparse = "nz_ratio_row=0.2";
  CHECK(seer_session_generate(session, &request, &sparse, sizeof sparse) == SEER_OK);
  CHECK(sparse.density < 1.0);
  CHECK(sparse.n_prompt + sparse.n_cached == (int64_t)n);
  CHECK(sparse.gate_ns > 0 && sparse.gate_ns < sparse.prefill_ns);

  CHECK(seer_sampling_init(&sampling, sizeof sampling, engine) == SEER_OK);
  sampling.temperature = 1.0;
  sampling.seed = 7;
  sampling.has_seed = 1;
  request = greedy(ids, n, 8, &sampling);
  CHECK(seer_session_reset(session) == SEER_OK);
  CHECK(seer_session_generate(session, &request, &a, sizeof a) == SEER_OK);
  memcpy(first, a.tokens, sizeof first);
  CHECK(seer_session_reset(session) == SEER_OK);
  CHECK(seer_session_generate(session, &request, &b, sizeof b) == SEER_OK);
  CHECK(b.n_tokens == 8 && memcmp(first, b.tokens, sizeof first) == 0);
  seer_session_free(session);
}

static void bad_requests(seer_engine* engine, const int32_t* ids, size_t n) {
  const int32_t out_of_range = -1;
  const char* null_stop = NULL;
  seer_sampling sampling = greedy_sampling();
  seer_request request;
  seer_session* session = NULL;
  seer_result result;
  int32_t* many = calloc(2000, sizeof *many);
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  CHECK_FAILS(seer_session_new(NULL, engine), SEER_ERROR_USAGE, "null");
  CHECK_FAILS(seer_session_generate(session, NULL, NULL, 0), SEER_ERROR_USAGE, "seer_request");
  request = greedy(NULL, 0, 1, NULL);
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "empty");
  CHECK_FAILS(seer_session_generate(NULL, &request, NULL, 0), SEER_ERROR_USAGE, "seer_session");
  request = greedy(NULL, 5, 1, NULL);
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "prompt");
  request = greedy(&out_of_range, 1, 1, NULL);
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "found -1");
  request = greedy(many, 2000, 1, NULL);
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "1024");
  request = greedy(ids, n, 1, NULL);
  request.sparse = "most";
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "'most'");
  request = greedy(ids, n, 1, NULL);
  request.stop = &null_stop;
  request.n_stop = 1;
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "stop string");
  sampling.top_p = 1.5;
  request = greedy(ids, n, 1, &sampling);
  CHECK_FAILS(seer_session_generate(session, &request, NULL, 0), SEER_ERROR_USAGE, "top_p");
  request = greedy(ids, n, 1, NULL);
  CHECK_FAILS(seer_session_generate(session, &request, &result, 1), SEER_ERROR_USAGE, "seer_result");
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  seer_session_free(session);
  free(many);
}

static void* cancel_soon(void* session) {
  int i;
  for (i = 0; i < 1000; ++i) seer_session_cancel(session);
  return NULL;
}

typedef struct Waiting {
  seer_session* session;
  int started;
} Waiting;

static int start_canceller(void* user, int32_t id, const char* text, size_t text_size) {
  Waiting* waiting = user;
  (void)id, (void)text, (void)text_size;
  if (waiting->started == 0) {
    pthread_t thread;
    waiting->started = 1;
    CHECK(pthread_create(&thread, NULL, cancel_soon, waiting->session) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
  }
  return 1;
}

static void requests_stop(seer_engine* engine, const int32_t* ids, size_t n) {
  seer_request request = greedy(ids, n, -1, NULL);
  seer_session* session = NULL;
  seer_result result;
  Waiting waiting;
  Seen seen;
  CHECK(seer_session_new(&session, engine) == SEER_OK);

  memset(&seen, 0, sizeof seen);
  seen.stop_after = 3;
  request.user = &seen;
  request.on_token = on_token;
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.finish == SEER_FINISH_CANCELLED && result.n_tokens == 3);

  CHECK(seer_session_reset(session) == SEER_OK);
  memset(&seen, 0, sizeof seen);
  seen.stop_after = 3;
  seen.cancel = session;
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.finish == SEER_FINISH_CANCELLED && result.n_tokens >= 3);

  CHECK(seer_session_reset(session) == SEER_OK);
  waiting.session = session;
  waiting.started = 0;
  request.user = &waiting;
  request.on_token = start_canceller;
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.finish == SEER_FINISH_CANCELLED && result.n_tokens >= 1);

  /* A cancel while no request is running has no effect on the next one. */
  seer_session_cancel(session);
  request = greedy(ids, 1, 2, NULL);
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.finish == SEER_FINISH_LENGTH);
  seer_session_free(session);
}

static void* other_thread(void* unused) {
  seer_session* session = NULL;
  (void)unused;
  CHECK(strcmp(seer_last_error(), "") == 0);
  CHECK_FAILS(seer_session_new(&session, NULL), SEER_ERROR_USAGE, "seer_engine");
  return NULL;
}

static void errors_are_a_thread_s_own(void) {
  pthread_t thread;
  seer_request request;
  CHECK_FAILS(seer_request_init(&request, 1), SEER_ERROR_USAGE, "seer_request");
  CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(strstr(seer_last_error(), "seer_request") != NULL);
}

static void requests_run_together(seer_engine* engine, const int32_t* ids, size_t n) {
  enum { kRequests = 5 };
  const seer_sampling sampling = greedy_sampling();
  seer_generation* running[kRequests];
  seer_session* session = NULL;
  seer_engine_stats before, after;
  seer_result alone, together;
  seer_request request;
  Seen seen[kRequests];
  size_t i;
  CHECK(seer_engine_get_stats(engine, &before, sizeof before) == SEER_OK);
  for (i = 0; i < kRequests; ++i) {
    memset(&seen[i], 0, sizeof seen[i]);
    request = greedy(ids, n - 40 * i, 8, &sampling);
    request.user = &seen[i];
    request.on_token = on_token;
    request.on_progress = on_progress;
    request.on_end = on_end;
    CHECK(seer_engine_submit(engine, &request, &running[i]) == SEER_OK);
  }
  for (i = 0; i < kRequests; ++i) {
    pthread_mutex_lock(&ends_mutex);
    while (seen[i].n_ends == 0) pthread_cond_wait(&one_ended, &ends_mutex);
    CHECK(seen[i].n_ends == 1);
    pthread_mutex_unlock(&ends_mutex);
    CHECK(seer_generation_done(running[i]) == 1);
  }
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  for (i = 0; i < kRequests; ++i) {
    CHECK(seer_generation_wait(running[i], &together, sizeof together) == SEER_OK);
    CHECK(seer_generation_done(running[i]) == 1);
    CHECK(seer_generation_wait(running[i], NULL, 0) == SEER_OK);
    request = greedy(ids, n - 40 * i, 8, &sampling);
    CHECK(seer_session_reset(session) == SEER_OK);
    CHECK(seer_session_generate(session, &request, &alone, sizeof alone) == SEER_OK);
    CHECK(together.finish == SEER_FINISH_LENGTH && together.n_tokens == 8 && alone.n_tokens == 8);
    CHECK(memcmp(together.tokens, alone.tokens, 8 * sizeof *alone.tokens) == 0);
    CHECK(strcmp(together.text, alone.text) == 0 && strcmp(together.text, seen[i].text) == 0);
    CHECK(together.n_prompt + together.n_cached == (int64_t)(n - 40 * i));
    CHECK(seen[i].n_tokens == 8 && seen[i].last_done == seen[i].last_total);
    seer_generation_free(running[i]);
  }
  seer_session_free(session);
  CHECK(seer_engine_get_stats(engine, &after, sizeof after) == SEER_OK);
  CHECK(after.n_requests - before.n_requests == 2 * kRequests);
  CHECK(after.n_finished - before.n_finished == 2 * kRequests);
  CHECK(after.n_running == 0 && after.n_waiting == 0 && after.pages_used == 0);
  CHECK(after.pages_cached > 0 && after.cached_tokens > before.cached_tokens);

  request = greedy(ids, n, -1, &sampling);
  CHECK(seer_engine_submit(engine, &request, &running[0]) == SEER_OK);
  seer_generation_cancel(running[0]);
  CHECK(seer_generation_wait(running[0], &together, sizeof together) == SEER_OK);
  CHECK(together.finish == SEER_FINISH_CANCELLED);
  seer_generation_free(running[0]);

  request = greedy(ids, 0, 1, &sampling);
  running[0] = (seer_generation*)&request; /* not null, because a refused request must set it to null */
  CHECK_FAILS(seer_engine_submit(engine, &request, &running[0]), SEER_ERROR_USAGE, "empty");
  CHECK(running[0] == NULL);
  CHECK_FAILS(seer_engine_submit(engine, &request, NULL), SEER_ERROR_USAGE, "null");
  CHECK_FAILS(seer_engine_submit(NULL, &request, &running[0]), SEER_ERROR_USAGE, "seer_engine");
  CHECK_FAILS(seer_generation_wait(NULL, NULL, 0), SEER_ERROR_USAGE, "seer_generation");
  CHECK_FAILS(seer_engine_get_stats(engine, NULL, sizeof after), SEER_ERROR_USAGE, "seer_engine_stats");
  CHECK_FAILS(seer_engine_get_stats(engine, &after, 1), SEER_ERROR_USAGE, "seer_engine_stats");
  CHECK(seer_generation_done(NULL) == 0);
  seer_generation_cancel(NULL);
  seer_generation_free(NULL);
}

static void sizes_of_batch_and_pool(void) {
  seer_engine* engine = NULL;
  seer_engine_info info;
  seer_engine_options o = options(NULL);
  o.mixed_chunk_size = 128;
  o.max_batch_size = 3;
  o.pool_size = 4096;
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  CHECK(seer_engine_get_info(engine, &info, sizeof info) == SEER_OK);
  CHECK(info.mixed_chunk_size == 128 && info.max_batch_size == 3 && info.n_pages == 64);
  seer_engine_free(engine);
  o.pool_size = 100;
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_USAGE, "1024");
}

static void a_saved_session_goes_on_as_the_one_that_stayed(seer_engine* engine, const int32_t* ids,
                                                           size_t n) {
  char path[] = "/tmp/seer_saved_session_XXXXXX";
  const int fd = mkstemp(path);
  const seer_sampling sampling = greedy_sampling();
  const seer_request first = greedy(ids, n, 4, &sampling), more = greedy(ids, 30, 8, &sampling);
  const int32_t* held = NULL;
  size_t n_held = 0;
  seer_session *stays = NULL, *comes = NULL;
  seer_result result;
  int32_t expected[8];
  int64_t n_cached = 0;
  CHECK(fd >= 0);
  close(fd);
  CHECK(seer_session_new(&stays, engine) == SEER_OK);
  CHECK(seer_session_generate(stays, &first, NULL, 0) == SEER_OK);
  CHECK(seer_session_save(stays, path) == SEER_OK);
  CHECK(seer_session_generate(stays, &more, &result, sizeof result) == SEER_OK);
  CHECK(result.n_tokens == 8);
  memcpy(expected, result.tokens, sizeof expected);
  n_cached = result.n_cached;
  CHECK(seer_session_reset(stays) == SEER_OK);
  CHECK(seer_session_load(&comes, engine, path) == SEER_OK);
  CHECK(seer_session_tokens(comes, &held, &n_held) == SEER_OK);
  CHECK(n_held == n + 4 && memcmp(held, ids, n * sizeof *ids) == 0);
  CHECK(seer_session_generate(comes, &more, &result, sizeof result) == SEER_OK);
  CHECK(result.n_tokens == 8 && memcmp(result.tokens, expected, sizeof expected) == 0);
  CHECK(result.n_cached == n_cached);
  seer_session_free(comes);
  comes = stays;
  CHECK_FAILS(seer_session_load(&comes, engine, model_dir), SEER_ERROR_FILE, "expected a regular file");
  CHECK(comes == NULL);
  CHECK_FAILS(seer_session_load(&comes, engine, NULL), SEER_ERROR_USAGE, "path");
  CHECK_FAILS(seer_session_load(NULL, engine, path), SEER_ERROR_USAGE, "seer_session*");
  CHECK_FAILS(seer_session_load(&comes, NULL, path), SEER_ERROR_USAGE, "seer_engine");
  CHECK_FAILS(seer_session_save(NULL, path), SEER_ERROR_USAGE, "seer_session");
  CHECK_FAILS(seer_session_save(stays, NULL), SEER_ERROR_USAGE, "path");
  CHECK_FAILS(seer_session_save(stays, "/nowhere/at/all"), SEER_ERROR_RUNTIME, "/nowhere/at/all");
  seer_session_free(stays);
  unlink(path);
}

static void a_session_outlives_the_handle_of_its_engine(seer_engine* engine, const int32_t* ids, size_t n) {
  const seer_sampling sampling = greedy_sampling();
  const seer_request request = greedy(ids, n, 4, &sampling);
  seer_session* session = NULL;
  seer_result result;
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  seer_engine_free(engine);
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.n_tokens == 4);
  seer_session_free(session);
}

int main(int argc, char** argv) {
  static char text[2048];
  seer_engine* engine = NULL;
  seer_engine_options o;
  int32_t* ids = NULL;
  size_t n = 0;
  Seen seen;
  require_folders(argc, argv);
  model_dir = argv[1];
  gates_dir = argv[2];
  while (n + 64 < sizeof text)
    n += (size_t)sprintf(text + n, "It was the %d. morning in the village. ", (int)n);

  versions_and_names();
  loads_that_fail();
  warnings_reach_the_sink();
  structs_of_other_versions();
  memset(&seen, 0, sizeof seen);
  o = options(&seen);
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  if (engine == NULL) return 1;
  describes_the_engine(engine, &seen);
  text_goes_round(engine);
  CHECK(seer_encode(engine, text, strlen(text), SEER_ENCODE_ADD_SPECIAL, &ids, &n) == SEER_OK);
  CHECK(n > 256 && n < 1000); /* several blocks, and room after them */
  if (n <= 256 || n >= 1000) return 1;
  generates(engine, ids, n);
  rules_and_sampling(engine, ids, n);
  bad_requests(engine, ids, n);
  requests_stop(engine, ids, n);
  errors_are_a_thread_s_own();
  sizes_of_batch_and_pool();
  requests_run_together(engine, ids, n);
  a_saved_session_goes_on_as_the_one_that_stayed(engine, ids, n);
  a_session_outlives_the_handle_of_its_engine(engine, ids, n);
  seer_free(ids);
  if (n_failed != 0) fprintf(stderr, "%d checks failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
