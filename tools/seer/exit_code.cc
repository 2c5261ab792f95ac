#include "tools/seer/exit_code.h"

#include <cstdio>
#include <new>
#include <string>

#include "tools/seer/output.h"

namespace seer::cli {

ExitCode exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return kBadUsage;
    case ErrorKind::kFile:
    case ErrorKind::kUnsupported:
      return kBadFile;
    case ErrorKind::kMemory:
      return kOutOfMemory;
    case ErrorKind::kCancelled:
      return kInterrupted;
    case ErrorKind::kDevice:
    case ErrorKind::kRuntime:
      break;
  }
  return kFailed;
}

ExitCode report(const std::exception& error) {
  if (const auto* known = dynamic_cast<const Error*>(&error)) {
    if (known->kind() == ErrorKind::kCancelled) {
      log_info(known->what());
    } else {
      log_error(known->what());
    }
    return exit_code(known->kind());
  }
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    log_error("out of memory; try a smaller --ctx-size, or a machine with more memory");
    return kOutOfMemory;
  }
  log_error(error.what());
  return kFailed;
}

}  // namespace seer::cli
