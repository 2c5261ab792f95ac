/* A failed check says where, and the program goes on; its exit code says whether any did. */
#pragma once

#include <stdio.h>
#include <string.h>

#include "seer/seer.h"

static int n_failed = 0;

static void check(int ok, const char* text, const char* file, int line) {
  if (ok) return;
  ++n_failed;
  fprintf(stderr, "%s:%d: failed: %s (last error: %s)\n", file, line, text, seer_last_error());
}

#define CHECK(condition) check((condition) ? 1 : 0, #condition, __FILE__, __LINE__)

/* The call fails with this status, and the message holds this text. */
#define CHECK_FAILS(call, status, text)                                         \
  do {                                                                          \
    CHECK((call) == (status));                                                  \
    check(strstr(seer_last_error(), (text)) != NULL, text, __FILE__, __LINE__); \
  } while (0)
