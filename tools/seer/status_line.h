// The one line that is rewritten while something runs: only where stderr is a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "seer/request.h"

namespace seer::cli {

class StatusLine {
 public:
  StatusLine();
  ~StatusLine() { clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  // Replaces the line, at most ten times a second.
  void update(const std::string& text);
  void clear();  // erases it; whatever else goes to the terminal is written after this

 private:
  bool enabled_;
  size_t width_ = 0;  // characters on the screen now
  std::chrono::steady_clock::time_point next_;
};

// "prefill 4096/15000 (27%) 1530 tokens/s, 7 s left"
std::string describe(const PrefillProgress& progress);

}  // namespace seer::cli
