/* An engine in a process that was forked from its own: fork_test MODEL_DIR GATES_DIR (the demo model). */
#define _GNU_SOURCE 1 /* fork, alarm */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/c_api/check.h"

enum { kForks = 10 };

static int on_token(void* user, int32_t id, const char* text, size_t text_size) {
  (void)user, (void)id, (void)text;
  return text_size < 1000;
}

/* Runs in the forked process. Exits with 0 if every call is refused or does nothing; an alarm ends a wait
 * that would not end. */
static void be_forked(seer_engine* engine, seer_session* session, seer_generation* running,
                      const seer_request* request, seer_ranks* ranks, const seer_engine_options* with_ranks) {
  seer_session* second = NULL;
  seer_generation* generation = NULL;
  seer_engine* other = NULL;
  seer_engine_info info;
  seer_engine_stats stats;
  const int32_t* tokens = NULL;
  int32_t* ids = NULL;
  size_t n = 0;
  alarm(30);
  CHECK_FAILS(seer_session_new(&second, engine), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_engine_submit(engine, request, &generation), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_engine_get_stats(engine, &stats, sizeof stats), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_engine_check(engine), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_session_generate(session, request, NULL, 0), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_session_reset(session), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_generation_wait(running, NULL, 0), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_ranks_set_timeout(ranks, 1.0), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_ranks_follow(ranks, NULL), SEER_ERROR_USAGE, "was forked from it");
  CHECK_FAILS(seer_engine_load(&other, with_ranks), SEER_ERROR_USAGE, "was forked from it");
  CHECK(seer_generation_done(running) == 1);
  seer_session_cancel(session);
  seer_generation_cancel(running);
  /* Functions that only read still work. */
  CHECK(seer_engine_get_info(engine, &info, sizeof info) == SEER_OK);
  CHECK(seer_session_tokens(session, &tokens, &n) == SEER_OK && n > 0);
  CHECK(seer_encode(engine, "The old house", 13, 0, &ids, &n) == SEER_OK && n > 0);
  seer_free(ids);
  seer_generation_free(running);
  seer_session_free(session);
  seer_engine_free(engine);
  seer_ranks_free(ranks);
  _exit(n_failed == 0 ? 0 : 1);
}

int main(int argc, char** argv) {
  static const char* const command[] = {"/proc/self/exe"};
  const int32_t prompt[] = {1, 353, 678};
  seer_engine_options o, with_ranks;
  seer_request request;
  seer_result result;
  seer_ranks* ranks = NULL;
  seer_engine* engine = NULL;
  seer_session* session = NULL;
  seer_generation* running = NULL;
  int i, status, completed = 0;
  CHECK(seer_ranks_join(&ranks) == SEER_OK);
  if (seer_ranks_rank(ranks) > 0) {
    CHECK(seer_ranks_follow(ranks, &completed) == SEER_OK);
    seer_ranks_free(ranks);
    return completed ? 0 : 1;
  }
  require_folders(argc, argv);
  o = cpu_options(argv, 2);
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  CHECK(seer_ranks_start(&ranks, 2, command, 1) == SEER_OK);
  with_ranks = o;
  with_ranks.ranks = ranks;
  CHECK(seer_request_init(&request, sizeof request) == SEER_OK);
  request.prompt = prompt;
  request.n_prompt = 3;
  request.max_new_tokens = 2;
  request.ignore_eos = 1;
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  CHECK(seer_session_generate(session, &request, NULL, 0) == SEER_OK);
  request.max_new_tokens = 10000;
  request.on_token = on_token;
  CHECK(seer_engine_submit(engine, &request, &running) == SEER_OK);
  /* Many forks, so that some happen while the engine's thread holds one of its locks. */
  for (i = 0; i < kForks; ++i) {
    const pid_t child = fork();
    if (child == 0) be_forked(engine, session, running, &request, ranks, &with_ranks);
    CHECK(child > 0);
    status = -1;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)usleep(3000);
  }
  /* The forks had no effect on the engine and the ranks. */
  seer_generation_cancel(running);
  memset(&result, 0, sizeof result);
  CHECK(seer_generation_wait(running, &result, sizeof result) == SEER_OK);
  CHECK(result.finish == SEER_FINISH_CANCELLED && result.n_tokens > 0);
  request.max_new_tokens = 2;
  CHECK(seer_session_generate(session, &request, &result, sizeof result) == SEER_OK && result.n_tokens == 2);
  seer_generation_free(running);
  seer_session_free(session);
  seer_engine_free(engine);
  CHECK(seer_engine_load(&engine, &with_ranks) == SEER_OK);
  CHECK(seer_engine_check(engine) == SEER_OK);
  seer_engine_free(engine);
  seer_ranks_free(ranks);
  if (n_failed != 0) fprintf(stderr, "%d checks failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
