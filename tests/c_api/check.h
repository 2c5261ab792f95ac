/* Checks for tests in C. A failed check prints its place, and the program goes on. Programs exit with 1 if
 * n_failed is not 0. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seer/seer.h"

static int n_failed = 0;

static void check(int ok, const char* text, const char* file, int line) {
  if (ok) return;
  ++n_failed;
  fprintf(stderr, "%s:%d: failed: %s (last error: %s)\n", file, line, text, seer_last_error());
}

#define CHECK(condition) check((condition) ? 1 : 0, #condition, __FILE__, __LINE__)

/* Ends the program unless its arguments are MODEL_DIR GATES_DIR. */
static inline void require_folders(int argc, char** argv) {
  if (argc == 3) return;
  fprintf(stderr, "usage: %s MODEL_DIR GATES_DIR\n", argv[0]);
  exit(2);
}

/* Returns options for the model and gates of these arguments, on the CPU. */
static inline seer_engine_options cpu_options(char** argv, int32_t threads) {
  seer_engine_options o;
  CHECK(seer_engine_options_init(&o, sizeof o) == SEER_OK);
  o.model_dir = argv[1];
  o.gates_dir = argv[2];
  o.device = "cpu";
  o.threads = threads;
  return o;
}

/* Checks that the call fails with this status, and that the message has this text. */
#define CHECK_FAILS(call, status, text)                                         \
  do {                                                                          \
    CHECK((call) == (status));                                                  \
    check(strstr(seer_last_error(), (text)) != NULL, text, __FILE__, __LINE__); \
  } while (0)
