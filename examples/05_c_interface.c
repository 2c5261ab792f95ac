/* Generates text through the C interface: 05_c_interface MODEL_DIR GATES_DIR PROMPT */
#include <stdio.h>
#include <string.h>

#include "seer/seer.h"

static int on_token(void* user, int32_t id, const char* text, size_t text_size) {
  (void)user;
  (void)id;
  fwrite(text, 1, text_size, stdout);
  fflush(stdout);
  return 1; /* 0 would stop the request */
}

static seer_status run(const char* model_dir, const char* gates_dir, const char* prompt, seer_engine** engine,
                       seer_session** session, int32_t** ids) {
  seer_status status;
  seer_engine_options options;
  seer_request request;
  seer_result result;
  size_t n_ids = 0;

  seer_engine_options_init(&options, sizeof options);
  options.model_dir = model_dir;
  options.gates_dir = gates_dir;
  if ((status = seer_engine_load(engine, &options)) != SEER_OK) return status;
  if ((status = seer_session_new(session, *engine)) != SEER_OK) return status;
  status = seer_encode(*engine, prompt, strlen(prompt), SEER_ENCODE_ADD_SPECIAL, ids, &n_ids);
  if (status != SEER_OK) return status;

  seer_request_init(&request, sizeof request);
  request.prompt = *ids;
  request.n_prompt = n_ids;
  request.max_new_tokens = 48;
  request.sparse = "threshold=0.01";
  request.on_token = on_token;
  status = seer_session_generate(*session, &request, &result, sizeof result);
  if (status != SEER_OK) return status;
  printf("\n");
  fprintf(stderr, "seer %s: %ld tokens, density %.3f\n", seer_version(), (long)result.n_generated,
          result.density);
  return SEER_OK;
}

int main(int argc, char** argv) {
  seer_engine* engine = NULL;
  seer_session* session = NULL;
  int32_t* ids = NULL;
  seer_status status;
  if (argc != 4) {
    fprintf(stderr, "usage: 05_c_interface MODEL_DIR GATES_DIR PROMPT\n");
    return 2;
  }
  status = run(argv[1], argv[2], argv[3], &engine, &session, &ids);
  if (status != SEER_OK) fprintf(stderr, "%s: %s\n", seer_status_name(status), seer_last_error());
  seer_free(ids);
  seer_session_free(session);
  seer_engine_free(engine);
  return status == SEER_OK ? 0 : 1;
}
