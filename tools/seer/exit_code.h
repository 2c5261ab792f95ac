// The exit status that `seer` returns to the shell, the same for every subcommand.
#pragma once

#include <exception>

#include "seer/error.h"

namespace seer::cli {

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,       // an error while running: output, or a device that is absent or failed
  kBadUsage = 2,     // a wrong option, prompt or combination
  kBadFile = 3,      // a file that is missing, malformed or unsupported
  kOutOfMemory = 4,  // out of memory or of KV pages
  kInterrupted = 130,
};

ExitCode exit_code(ErrorKind kind);

// Prints the error on one line of stderr, as "seer: error: ...", or as "seer: ..." if the caller stopped the
// work (kCancelled), and returns the code. Call it in the handler that caught `error`.
ExitCode report(const std::exception& error);

}  // namespace seer::cli
