// What `seer` returns to the shell, the same for every subcommand.
#pragma once

#include <exception>

#include "seer/error.h"

namespace seer::cli {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,       // while running: output; a device that is not there or failed
  kBadUsage = 2,     // an option, a prompt, a combination
  kBadFile = 3,      // missing, malformed or unsupported
  kOutOfMemory = 4,  // memory or KV pages
  kInterrupted = 130,
};

ExitCode exit_code(ErrorKind kind);

// Prints "seer: error: ..." on one line of stderr and returns the code; call it where `error` was caught.
ExitCode report(const std::exception& error);

}  // namespace seer::cli
