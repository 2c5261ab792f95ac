// What the files of disk_pages*.cc share.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <string>

#include "engine/src/tiers/disk_pages.h"

namespace seer {

// A call to the system that failed. No function of PageTier throws it.
struct DiskPages::Failure {
  int error;  // errno
  const char* what;
  std::string path;

  std::string text() const {
    return std::string("cannot ") + what + " " + path + ": " + std::strerror(error);
  }
};

inline int64_t wall_clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace seer
