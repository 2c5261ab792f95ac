/* What a request may do with logits from C99, and what ends it: log-probabilities, biases, hooks, stop ids.
 * logits_test MODEL_DIR GATES_DIR (the demo model, used without its gates). */
#include <math.h>
#include <stdlib.h>

#include "tests/c_api/check.h"

static seer_sampling sampling;

static seer_request greedy(const int32_t* ids, size_t n, int64_t max_new_tokens) {
  seer_request request;
  CHECK(seer_request_init(&request, sizeof request) == SEER_OK);
  CHECK(seer_sampling_init(&sampling, sizeof sampling, NULL) == SEER_OK);
  sampling.temperature = 0;
  request.prompt = ids;
  request.n_prompt = n;
  request.max_new_tokens = max_new_tokens;
  request.sampling = &sampling;
  request.ignore_eos = 1;
  return request;
}

static void the_engine_says_what_ends_an_answer(const seer_engine* engine) {
  seer_engine_info info;
  CHECK(seer_engine_get_info(engine, &info, sizeof info) == SEER_OK);
  CHECK(info.n_stop_ids == 1 && info.stop_ids[0] == 2);
  CHECK(strstr(info.stop_id_sources[0], "generation_config.json") != NULL);
  CHECK(strstr(info.stop_id_sources[0], "eos_token </s>") != NULL);
}

/* Checks that the probabilities of the whole vocabulary add up to 1, and that the likeliest come first. */
static void check_position(const seer_position_logprobs* p, int32_t id, size_t n_top) {
  size_t i;
  double sum = 0.0;
  CHECK(p->token.id == id);
  CHECK(p->n_top == n_top);
  for (i = 0; i < p->n_top; ++i) {
    if (i > 0) CHECK(p->top[i].logprob <= p->top[i - 1].logprob);
    if (p->top[i].id == id) CHECK(p->top[i].logprob == p->token.logprob);
    sum += exp((double)p->top[i].logprob);
  }
  CHECK(fabs(sum - 1.0) < 1e-4);
}

static void log_probabilities_of_prompt_and_answer(seer_engine* engine, const int32_t* ids, size_t n) {
  seer_request request = greedy(ids, n, 4);
  seer_session* session = NULL;
  seer_generation* generation = NULL;
  seer_result result, again;
  size_t i;
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.logprobs == NULL && result.n_logprobs == 0);
  CHECK(result.prompt_logprobs == NULL && result.n_prompt_logprobs == 0);
  CHECK(seer_session_reset(session) == SEER_OK);
  request.has_logprobs = request.has_prompt_logprobs = 1;
  request.n_logprobs = 4096;
  request.n_prompt_logprobs = 4096;
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK);
  CHECK(result.n_logprobs == 4 && result.n_prompt_logprobs == n - 1);
  for (i = 0; i < result.n_logprobs; ++i) check_position(&result.logprobs[i], result.tokens[i], 4096);
  for (i = 0; i < result.n_prompt_logprobs; ++i) check_position(&result.prompt_logprobs[i], ids[i + 1], 4096);
  CHECK(result.logprobs[0].top[0].id == result.tokens[0]); /* greedy */
  seer_session_free(session);

  request.n_logprobs = 0;
  request.has_prompt_logprobs = 0;
  CHECK(seer_engine_submit(engine, &request, &generation) == SEER_OK);
  CHECK(seer_generation_wait(generation, &result, sizeof result) == SEER_OK);
  CHECK(seer_generation_wait(generation, &again, sizeof again) == SEER_OK);
  CHECK(result.n_logprobs == 4 && again.logprobs == result.logprobs);
  CHECK(result.logprobs[3].top == NULL && result.logprobs[3].n_top == 0);
  CHECK(result.n_prompt_logprobs == 0);
  seer_generation_free(generation);

  request.n_logprobs = 4097;
  CHECK_FAILS(seer_engine_submit(engine, &request, &generation), SEER_ERROR_USAGE, "n_logprobs");
}

static void biases_choose_and_forbid(seer_engine* engine, const int32_t* ids, size_t n) {
  const int32_t biased[] = {40, 41, 40};
  double values[] = {200.0, 100.0, 0.0};
  seer_request request = greedy(ids, n, 2);
  seer_generation* generation = NULL;
  seer_result result;
  sampling.bias_ids = biased;
  sampling.bias_values = values;
  sampling.n_biases = 2;
  CHECK(seer_engine_submit(engine, &request, &generation) == SEER_OK);
  CHECK(seer_generation_wait(generation, &result, sizeof result) == SEER_OK);
  CHECK(result.n_tokens == 2 && result.tokens[0] == 40 && result.tokens[1] == 40);
  seer_generation_free(generation);
  values[0] = -INFINITY;
  CHECK(seer_engine_submit(engine, &request, &generation) == SEER_OK);
  CHECK(seer_generation_wait(generation, &result, sizeof result) == SEER_OK);
  CHECK(result.n_tokens == 2 && result.tokens[0] == 41 && result.tokens[1] == 41);
  seer_generation_free(generation);
  values[0] = NAN;
  CHECK_FAILS(seer_engine_submit(engine, &request, &generation), SEER_ERROR_USAGE, "logit_bias of 40");
  values[0] = 0.0;
  sampling.n_biases = 3;
  CHECK_FAILS(seer_engine_submit(engine, &request, &generation), SEER_ERROR_USAGE, "40 again");
  sampling.n_biases = 2;
  sampling.bias_values = NULL;
  CHECK_FAILS(seer_engine_submit(engine, &request, &generation), SEER_ERROR_USAGE, "bias_values");
}

typedef struct Hook {
  size_t n_prompt, n_calls, fail_at;
  int32_t ids[8]; /* the answer, as the hook wants it */
} Hook;

static int on_logits(void* user, const int32_t* tokens, size_t n_tokens, float* logits, size_t n_vocab) {
  Hook* hook = user;
  const size_t at = n_tokens - hook->n_prompt;
  CHECK(n_vocab == 4096);
  if (at > 0) CHECK(tokens[n_tokens - 1] == hook->ids[at - 1]);
  logits[hook->ids[at]] = 1e6F;
  return ++hook->n_calls != hook->fail_at;
}

static void a_hook_chooses_and_stop_ids_end(seer_engine* engine, const int32_t* ids, size_t n) {
  const int32_t stops[] = {99, 12};
  Hook hook = {0};
  seer_request request = greedy(ids, n, 6);
  seer_generation* generation = NULL;
  seer_result result;
  size_t i;
  hook.n_prompt = n;
  for (i = 0; i < 8; ++i) hook.ids[i] = (int32_t)(10 + i);
  request.user = &hook;
  request.on_logits = on_logits;
  CHECK(seer_engine_submit(engine, &request, &generation) == SEER_OK);
  CHECK(seer_generation_wait(generation, &result, sizeof result) == SEER_OK);
  CHECK(result.n_tokens == 6 && result.tokens[5] == 15 && hook.n_calls == 6);
  CHECK(result.stop_id == -1 && result.finish == SEER_FINISH_LENGTH);
  seer_generation_free(generation);

  request.stop_token_ids = stops;
  request.n_stop_token_ids = 2;
  CHECK(seer_engine_submit(engine, &request, &generation) == SEER_OK);
  CHECK(seer_generation_wait(generation, &result, sizeof result) == SEER_OK);
  CHECK(result.n_tokens == 2 && result.n_generated == 3);
  CHECK(result.finish == SEER_FINISH_STOP_TOKEN && result.stop_id == 12);
  seer_generation_free(generation);

  /* 12 cannot be chosen as the third token, whatever its logit. */
  request.min_new_tokens = 3;
  request.max_new_tokens = 3;
  CHECK(seer_engine_submit(engine, &request, &generation) == SEER_OK);
  CHECK(seer_generation_wait(generation, &result, sizeof result) == SEER_OK);
  CHECK(result.n_tokens == 3 && result.tokens[2] != 12 && result.finish == SEER_FINISH_LENGTH);
  seer_generation_free(generation);

  hook.n_calls = 0;
  hook.fail_at = 2;
  CHECK(seer_engine_submit(engine, &request, &generation) == SEER_OK);
  CHECK_FAILS(seer_generation_wait(generation, &result, sizeof result), SEER_ERROR_RUNTIME, "on_logits");
  seer_generation_free(generation);

  request.min_new_tokens = 4;
  CHECK_FAILS(seer_engine_submit(engine, &request, &generation), SEER_ERROR_USAGE, "min_new_tokens");
  request.min_new_tokens = 0;
  request.stop_token_ids = NULL;
  CHECK_FAILS(seer_engine_submit(engine, &request, &generation), SEER_ERROR_USAGE, "stop_token_ids");
}

int main(int argc, char** argv) {
  const char* text = "Once upon a time there was a small village by the sea.";
  seer_engine* engine = NULL;
  seer_engine_options options;
  int32_t* ids = NULL;
  size_t n = 0;
  require_folders(argc, argv);
  CHECK(seer_engine_options_init(&options, sizeof options) == SEER_OK);
  options.model_dir = argv[1];
  options.device = "cpu";
  options.ctx_size = 256;
  CHECK(seer_engine_load(&engine, &options) == SEER_OK);
  if (engine == NULL) return 1;
  CHECK(seer_encode(engine, text, strlen(text), SEER_ENCODE_ADD_SPECIAL, &ids, &n) == SEER_OK);
  if (n < 5) return 1;
  the_engine_says_what_ends_an_answer(engine);
  log_probabilities_of_prompt_and_answer(engine, ids, n);
  biases_choose_and_forbid(engine, ids, n);
  a_hook_chooses_and_stop_ids_end(engine, ids, n);
  seer_free(ids);
  seer_engine_free(engine);
  if (n_failed != 0) fprintf(stderr, "%d checks failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
