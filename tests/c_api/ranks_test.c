/* Ranks from C99: ranks_test MODEL_DIR GATES_DIR (the demo model). The other ranks are this program again. */
#define _GNU_SOURCE 1 /* usleep, kill */
#include <signal.h>
#include <unistd.h>

#include "tests/c_api/check.h"

enum { kTokens = 12 };

static const char* const command[] = {"/proc/self/exe"};

static seer_engine_options options(char** argv) {
  seer_engine_options o = cpu_options(argv, 1);
  CHECK(o.ranks == NULL && o.rank_split == SEER_RANK_SPLIT_TENSOR);
  o.ctx_size = 1024;
  o.chunk_size = 256;
  return o;
}

/* A prompt of several chunks, the same for every engine; then greedy tokens. */
static void generate(seer_engine* engine, int32_t* tokens, seer_result* result) {
  static char text[2048];
  seer_sampling sampling;
  seer_request request;
  seer_session* session = NULL;
  int32_t* ids = NULL;
  size_t size = 0, n = 0;
  while (size + 64 < sizeof text)
    size += (size_t)sprintf(text + size, "It was the %d. morning in the village. ", (int)size);
  CHECK(seer_encode(engine, text, size, SEER_ENCODE_ADD_SPECIAL, &ids, &n) == SEER_OK);
  CHECK(n > 512 && n < 1000);
  CHECK(seer_sampling_init(&sampling, sizeof sampling, NULL) == SEER_OK);
  sampling.temperature = 0.0;
  CHECK(seer_request_init(&request, sizeof request) == SEER_OK);
  request.prompt = ids;
  request.n_prompt = n;
  request.max_new_tokens = kTokens;
  request.sampling = &sampling;
  request.sparse = "threshold=0.1";
  request.ignore_eos = 1;
  memset(result, 0, sizeof *result);
  CHECK(seer_session_new(&session, engine) == SEER_OK);
  CHECK(seer_session_generate(session, &request, result, sizeof *result) == SEER_OK);
  CHECK(result->n_tokens == kTokens);
  if (result->n_tokens == kTokens) memcpy(tokens, result->tokens, kTokens * sizeof *tokens);
  seer_session_free(session);
  seer_free(ids);
}

static void two_ranks_give_one_rank_s_tokens(char** argv) {
  int32_t alone[kTokens] = {0}, together[kTokens];
  seer_engine_options o = options(argv);
  seer_engine *engine = NULL, *second = NULL;
  seer_ranks* ranks = NULL;
  seer_engine_info info;
  seer_result result;
  int32_t split;
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  if (engine == NULL) return;
  CHECK(seer_engine_get_info(engine, &info, sizeof info) == SEER_OK);
  CHECK(info.n_ranks == 1 && info.rank_split == SEER_RANK_SPLIT_TENSOR);
  generate(engine, alone, &result);
  CHECK(result.moved_pages == 0 && result.movable_pages == 0);
  seer_engine_free(engine);

  CHECK(seer_ranks_start(&ranks, 2, command, 1) == SEER_OK);
  if (ranks == NULL) return;
  CHECK(seer_ranks_rank(ranks) == 0 && seer_ranks_size(ranks) == 2 && seer_ranks_core_sharers(ranks) == 2);
  CHECK(seer_ranks_set_timeout(ranks, 100.0) == SEER_OK);
  for (split = SEER_RANK_SPLIT_TENSOR; split <= SEER_RANK_SPLIT_CONTEXT; ++split) {
    o.ranks = ranks;
    o.rank_split = split;
    CHECK(seer_engine_load(&engine, &o) == SEER_OK);
    if (engine == NULL) break;
    CHECK_FAILS(seer_engine_load(&second, &o), SEER_ERROR_USAGE, "another engine's model");
    CHECK(second == NULL);
    CHECK(seer_engine_get_info(engine, &info, sizeof info) == SEER_OK);
    CHECK(info.n_ranks == 2 && info.rank_split == split);
    if (split == SEER_RANK_SPLIT_CONTEXT) {
      seer_ranks_free(ranks); /* the engine keeps them */
      ranks = NULL;
    }
    memset(together, 0, sizeof together);
    generate(engine, together, &result);
    CHECK(memcmp(together, alone, sizeof alone) == 0);
    if (split == SEER_RANK_SPLIT_CONTEXT) {
      CHECK(result.movable_pages > 0 && result.moved_pages <= result.movable_pages);
    } else {
      CHECK(result.movable_pages == 0);
    }
    seer_engine_free(engine);
  }
  seer_ranks_free(ranks);
}

/* The one child of this process, which is the other rank. */
static int child(void) {
  char name[64];
  int pid = -1;
  FILE* in;
  (void)sprintf(name, "/proc/self/task/%d/children", (int)getpid());
  in = fopen(name, "r");
  if (in == NULL) return -1;
  if (fscanf(in, "%d", &pid) != 1) pid = -1;
  (void)fclose(in);
  return pid;
}

static void a_rank_that_ends_is_noticed_while_nothing_is_computed(char** argv) {
  seer_engine_options o = options(argv);
  seer_engine* engine = NULL;
  seer_ranks* ranks = NULL;
  int pid, i;
  CHECK(seer_ranks_start(&ranks, 2, command, 1) == SEER_OK);
  o.ranks = ranks;
  CHECK(seer_engine_load(&engine, &o) == SEER_OK);
  CHECK(seer_engine_check(engine) == SEER_OK);
  pid = child();
  CHECK(pid > 0);
  if (pid > 0) CHECK(kill(pid, SIGKILL) == 0);
  for (i = 0; i < 1000 && seer_engine_check(engine) == SEER_OK; ++i) (void)usleep(10000);
  CHECK_FAILS(seer_engine_check(engine), SEER_ERROR_DEVICE, "rank 1 of 2 was killed by signal 9");
  CHECK_FAILS(seer_engine_check(NULL), SEER_ERROR_USAGE, "found null");
  seer_engine_free(engine);
  seer_ranks_free(ranks);
}

static void what_is_refused(char** argv) {
  static const char* const no_program[] = {"/no/such/program"};
  static const char* const no_word[] = {"/proc/self/exe", NULL};
  const int32_t bad_counts[] = {-1, 0, 65};
  seer_engine_options o = options(argv);
  seer_engine* engine = NULL;
  seer_ranks* ranks;
  int completed = 1;
  size_t i;
  for (i = 0; i < sizeof bad_counts / sizeof *bad_counts; ++i) {
    ranks = (seer_ranks*)&ranks; /* not null, because a start that fails must set it to null */
    CHECK_FAILS(seer_ranks_start(&ranks, bad_counts[i], command, 1), SEER_ERROR_USAGE,
                "expected between 1 and 64 ranks, found ");
    CHECK(ranks == NULL);
  }
  CHECK_FAILS(seer_ranks_start(&ranks, 2, command, 0), SEER_ERROR_USAGE, "a command that starts a rank");
  CHECK_FAILS(seer_ranks_start(&ranks, 2, NULL, 1), SEER_ERROR_USAGE, "the command, found null");
  CHECK_FAILS(seer_ranks_start(&ranks, 2, no_word, 2), SEER_ERROR_USAGE, "every word of the command");
  CHECK_FAILS(seer_ranks_start(&ranks, 2, no_program, 1), SEER_ERROR_DEVICE, "/no/such/program");
  CHECK(ranks == NULL);
  CHECK_FAILS(seer_ranks_start(NULL, 2, command, 1), SEER_ERROR_USAGE, "found null");
  CHECK_FAILS(seer_ranks_join(NULL), SEER_ERROR_USAGE, "found null");
  CHECK_FAILS(seer_ranks_set_timeout(NULL, 1.0), SEER_ERROR_USAGE, "seer_ranks");
  CHECK_FAILS(seer_ranks_follow(NULL, &completed), SEER_ERROR_USAGE, "seer_ranks");
  seer_ranks_free(NULL);
  CHECK(seer_ranks_rank(NULL) == 0 && seer_ranks_size(NULL) == 1 && seer_ranks_core_sharers(NULL) == 1);

  CHECK(seer_ranks_start(&ranks, 1, NULL, 0) == SEER_OK); /* nobody to start */
  CHECK(seer_ranks_rank(ranks) == 0 && seer_ranks_size(ranks) == 1);
  CHECK_FAILS(seer_ranks_set_timeout(ranks, 0.0), SEER_ERROR_USAGE, "above 0");
  completed = 1;
  CHECK_FAILS(seer_ranks_follow(ranks, &completed), SEER_ERROR_USAGE, "rank 0 leads");
  CHECK(completed == 0);
  seer_ranks_free(ranks);

  o.rank_split = 7;
  CHECK_FAILS(seer_engine_load(&engine, &o), SEER_ERROR_USAGE, "found 7");
  CHECK(engine == NULL);
}

int main(int argc, char** argv) {
  seer_ranks* ranks = NULL;
  int completed = 0;
  CHECK(seer_ranks_join(&ranks) == SEER_OK);
  if (seer_ranks_rank(ranks) > 0) {
    CHECK(seer_ranks_follow(ranks, &completed) == SEER_OK);
    seer_ranks_free(ranks);
    return completed && n_failed == 0 ? 0 : 1;
  }
  CHECK(ranks == NULL); /* this process was started alone */
  require_folders(argc, argv);
  two_ranks_give_one_rank_s_tokens(argv);
  a_rank_that_ends_is_noticed_while_nothing_is_computed(argv);
  what_is_refused(argv);
  if (n_failed != 0) fprintf(stderr, "%d checks failed\n", n_failed);
  return n_failed == 0 ? 0 : 1;
}
