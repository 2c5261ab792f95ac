/* Values that no field takes, from C99: refusals_test MODEL_DIR GATES_DIR (the demo model). Each is put into
 * a struct that is otherwise fine, and must be refused with a message that names it. */
#include <math.h>
#include <stddef.h>

#include "tests/c_api/check.h"

typedef struct Row {
  const char* field;
  size_t offset;
  char type; /* i: int32_t, q: int64_t, d: double, p: const char* */
  double number;
  const char* text;
  const char* expected; /* part of the message */
} Row;

static void put(void* struct_, const Row* row) {
  unsigned char* field = (unsigned char*)struct_ + row->offset;
  const int32_t i = row->type == 'i' ? (int32_t)row->number : 0;
  const int64_t q = row->type == 'q' ? (int64_t)row->number : 0;
  if (row->type == 'i') memcpy(field, &i, sizeof i);
  if (row->type == 'q') memcpy(field, &q, sizeof q);
  if (row->type == 'd') memcpy(field, &row->number, sizeof row->number);
  if (row->type == 'p') memcpy(field, &row->text, sizeof row->text);
}

static void check_refused(seer_status status, const Row* row) {
  if (status == SEER_ERROR_USAGE && strstr(seer_last_error(), row->expected) != NULL) return;
  ++n_failed;
  fprintf(stderr, "%s = %g: expected a refusal with '%s', found status %d: %s\n", row->field, row->number,
          row->expected, (int)status, seer_last_error());
}

#define OPTION(field, type) #field, offsetof(seer_engine_options, field), type
#define SAMPLING(field) #field, offsetof(seer_sampling, field)
#define REQUEST(field) #field, offsetof(seer_request, field)
#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static const double kHuge = 4611686018427387904.0; /* 2^62 */

static void options_out_of_range(const seer_engine_options* good) {
  const Row rows[] = {
      {OPTION(threads, 'i'), -1, NULL, "threads, or 0 for one per core, found -1"},
      {OPTION(threads, 'i'), 1025, NULL, "found 1025"},
      {OPTION(threads, 'i'), -2147483648.0, NULL, "found -2147483648"},
      {OPTION(ctx_size, 'q'), -1, NULL, "expected a context of 1 to"},
      {OPTION(ctx_size, 'q'), kHuge, NULL, "expected a context of 1 to"},
      {OPTION(chunk_size, 'q'), -64, NULL, "chunk size"},
      {OPTION(chunk_size, 'q'), 65, NULL, "found 65"},
      {OPTION(mixed_chunk_size, 'q'), -64, NULL, "mixed chunk size"},
      {OPTION(mixed_chunk_size, 'q'), 1, NULL, "mixed chunk size"},
      {OPTION(max_batch_size, 'q'), -1, NULL, "expected a batch of 1 to 1024"},
      {OPTION(max_batch_size, 'q'), 1025, NULL, "found 1025"},
      {OPTION(pool_size, 'q'), -1, NULL, "expected a pool of"},
      {OPTION(pool_size, 'q'), 1, NULL, "expected a pool of at least"},
      {OPTION(pool_size, 'q'), kHuge, NULL, "expected a pool of"},
      {OPTION(host_cache_bytes, 'q'), 1 << 20, NULL, "a host cache needs a GPU"},
      {OPTION(host_cache_bytes, 'q'), -1, NULL, "expected a host cache of 0 bytes or more"},
      {OPTION(disk_cache_bytes, 'q'), 1 << 20, NULL, "expected a folder for the disk cache"},
      {OPTION(gpu_memory_utilization, 'd'), -0.5, NULL, "GPU memory utilization"},
      {OPTION(gpu_memory_utilization, 'd'), 1.5, NULL, "GPU memory utilization"},
      {OPTION(gpu_memory_utilization, 'd'), (double)NAN, NULL, "GPU memory utilization"},
      {OPTION(rank_split, 'i'), -1, NULL, "rank_split"},
      {OPTION(rank_split, 'i'), 2, NULL, "rank_split"},
      {OPTION(kv_cache_dtype, 'p'), 0, "", "auto, f32 or bf16, found ''"},
      {OPTION(kv_cache_dtype, 'p'), 0, "float", "auto, f32 or bf16, found 'float'"},
      {OPTION(weights, 'p'), 0, "", "auto, bf16, fp8 or int4, found ''"},
      {OPTION(weights, 'p'), 0, "q8_0", "auto, bf16, fp8 or int4, found 'q8_0'"},
      {OPTION(activations, 'p'), 0, "", "auto, f32 or bf16, found ''"},
      {OPTION(activations, 'p'), 0, "fp8", "auto, f32 or bf16, found 'fp8'"},
      {OPTION(device, 'p'), 0, "cuda:-1", "'cuda:-1'"},
      {OPTION(device, 'p'), 0, "", "found ''"},
  };
  size_t i;
  for (i = 0; i < COUNT(rows); ++i) {
    seer_engine_options o = *good;
    seer_engine* engine = NULL;
    put(&o, &rows[i]);
    check_refused(seer_engine_load(&engine, &o), &rows[i]);
    CHECK(engine == NULL);
  }
}

/* Checks that a session and seer_engine_submit both refuse the request. */
static void check_request_refused(seer_engine* engine, const seer_request* request, const Row* row) {
  seer_session* session = NULL;
  seer_generation* generation = NULL;
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  check_refused(seer_session_generate(session, request, NULL, 0), row);
  check_refused(seer_engine_submit(engine, request, &generation), row);
  CHECK(generation == NULL);
  seer_session_free(session);
}

static void sampling_out_of_range(seer_engine* engine, const seer_request* good) {
  const Row rows[] = {
      {SAMPLING(temperature), 'd', -0.1, NULL, "temperature"},
      {SAMPLING(temperature), 'd', (double)NAN, NULL, "temperature"},
      {SAMPLING(temperature), 'd', (double)INFINITY, NULL, "temperature"},
      {SAMPLING(top_k), 'q', -2, NULL, "top_k"},
      {SAMPLING(top_p), 'd', -0.1, NULL, "top_p"},
      {SAMPLING(top_p), 'd', 1.1, NULL, "top_p"},
      {SAMPLING(top_p), 'd', (double)NAN, NULL, "top_p"},
      {SAMPLING(min_p), 'd', -0.1, NULL, "min_p"},
      {SAMPLING(min_p), 'd', 1.1, NULL, "min_p"},
      {SAMPLING(repeat_penalty), 'd', 0, NULL, "repeat_penalty"},
      {SAMPLING(repeat_penalty), 'd', (double)INFINITY, NULL, "repeat_penalty"},
      {SAMPLING(presence_penalty), 'd', (double)NAN, NULL, "presence_penalty"},
      {SAMPLING(frequency_penalty), 'd', (double)-INFINITY, NULL, "frequency_penalty"},
      {SAMPLING(repeat_last_n), 'q', -2, NULL, "repeat_last_n"},
      {SAMPLING(n_biases), 'q', 1, NULL, "bias_ids"},
  };
  size_t i;
  for (i = 0; i < COUNT(rows); ++i) {
    seer_request request = *good;
    seer_sampling sampling;
    CHECK(seer_sampling_init(&sampling, sizeof sampling, NULL) == SEER_OK);
    put(&sampling, &rows[i]);
    request.sampling = &sampling;
    check_request_refused(engine, &request, &rows[i]);
  }
}

static void requests_out_of_range(seer_engine* engine, const seer_request* good) {
  static const char* const empty_stop[] = {""};
  const Row rows[] = {
      {REQUEST(max_new_tokens), 'q', -9, NULL, "max_new_tokens from 0 on, or -1"},
      {REQUEST(max_new_tokens), 'q', -2, NULL, "found -2"},
      {REQUEST(max_new_tokens), 'q', -kHuge, NULL, "max_new_tokens"},
      {REQUEST(min_new_tokens), 'q', -1, NULL, "min_new_tokens"},
      {REQUEST(min_new_tokens), 'q', 5, NULL, "to max_new_tokens, which is 4"},
      {REQUEST(n_logprobs), 'q', -1, NULL, "n_logprobs"},
      {REQUEST(n_logprobs), 'q', 4097, NULL, "n_logprobs from 0 to the vocabulary's 4096"},
      {REQUEST(n_prompt_logprobs), 'q', -1, NULL, "n_prompt_logprobs"},
      {REQUEST(n_prompt_logprobs), 'q', kHuge, NULL, "n_prompt_logprobs"},
      {REQUEST(sparse), 'p', 0, "threshold=-1", "threshold"},
      {REQUEST(sparse), 'p', 0, "threshold=nan", "threshold"},
      {REQUEST(sparse), 'p', 0, "nz_ratio=2", "nz_ratio"},
      {REQUEST(sparse), 'p', 0, "", "''"},
      {REQUEST(sparse_decode), 'p', 0, "budget=-64", "budget=-64"},
      {REQUEST(sparse_decode), 'p', 0, "ratio=2", "ratio"},
      {REQUEST(sparse_decode), 'p', 0, "", "''"},
      {REQUEST(sparse_decode), 'p', 0, "budget=1024", "only gates for prompts"},
      {REQUEST(n_stop), 'q', 1, NULL, "stop strings"},
      {REQUEST(n_stop_token_ids), 'q', 1, NULL, "stop_token_ids"},
      {REQUEST(prompt), 'p', 0, NULL, "the prompt"},
  };
  const Row empty = {REQUEST(stop), 'p', 0, NULL, "a stop string is empty"};
  seer_request request = *good;
  size_t i;
  for (i = 0; i < COUNT(rows); ++i) {
    request = *good;
    request.has_logprobs = request.has_prompt_logprobs = 1;
    put(&request, &rows[i]);
    check_request_refused(engine, &request, &rows[i]);
  }
  request = *good;
  request.stop = empty_stop;
  request.n_stop = 1;
  check_request_refused(engine, &request, &empty);
}

static void dates_out_of_range(seer_engine* engine) {
  const Row rows[] = {
      {"now", offsetof(seer_chat_prompt, now), 'q', -2, NULL, "now"},
      {"now", offsetof(seer_chat_prompt, now), 'q', 253402300800.0, NULL, "now"},
      {"now", offsetof(seer_chat_prompt, now), 'q', kHuge, NULL, "now"},
  };
  size_t i;
  for (i = 0; i < COUNT(rows); ++i) {
    seer_chat_prompt prompt;
    char* text = NULL;
    CHECK(seer_chat_prompt_init(&prompt, sizeof prompt) == SEER_OK);
    prompt.messages = "[{\"role\": \"user\", \"content\": \"Hello\"}]";
    prompt.chat_template = "llama3";
    put(&prompt, &rows[i]);
    check_refused(seer_render_chat(engine, &prompt, &text, NULL), &rows[i]);
    prompt.now = 253402300799; /* the last second of the year 9999 */
    CHECK(seer_render_chat(engine, &prompt, &text, NULL) == SEER_OK);
    seer_free(text);
  }
}

int main(int argc, char** argv) {
  const int32_t prompt[] = {1, 353, 678};
  const double timeouts[] = {0.0, -1.0, 1e7, (double)NAN};
  seer_engine_options o;
  seer_request request;
  seer_ranks* ranks = NULL;
  seer_engine* engine = NULL;
  size_t i;
  require_folders(argc, argv);
  o = cpu_options(argv, 1);
  o.ctx_size = 256;
  options_out_of_range(&o);
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  CHECK(seer_request_init(&request, sizeof request) == SEER_OK);
  request.prompt = prompt;
  request.n_prompt = 3;
  request.max_new_tokens = 4;
  sampling_out_of_range(engine, &request);
  requests_out_of_range(engine, &request);
  dates_out_of_range(engine);
  CHECK(seer_ranks_start(&ranks, 1, NULL, 0) == SEER_OK);
  for (i = 0; i < COUNT(timeouts); ++i)
    CHECK_FAILS(seer_ranks_set_timeout(ranks, timeouts[i]), SEER_ERROR_USAGE,
                "a timeout between ranks above 0");
  seer_ranks_free(ranks);
  seer_engine_free(engine);
  if (n_failed != 0) fprintf(stderr, "%d checks failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
