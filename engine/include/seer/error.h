// The error that every part of Seer throws. Library code never aborts, exits or prints.
#pragma once

#include <stdexcept>
#include <string>

#include "seer/export.h"

namespace seer {

enum class ErrorKind {
  kUsage,        // an argument or option is wrong; the caller can correct it
  kFile,         // a file is missing, unreadable or malformed
  kUnsupported,  // a well-formed file or request that Seer does not handle
  kMemory,       // memory, pages or context exhausted
  kDevice,       // the device or its driver failed
  kCancelled,    // stopped by the caller
  kRuntime,      // an operation failed while running (I/O on output, for example)
};

// The message says what was expected, what was found, and what to do about it.
class SEER_API Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace seer
