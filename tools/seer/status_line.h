// A line on stderr that is rewritten while something runs. Nothing is shown unless stderr is a terminal.
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
  void clear();  // erases the line; call it before anything else is written to the terminal

 private:
  bool enabled_;
  size_t width_ = 0;  // characters on the screen now
  std::chrono::steady_clock::time_point next_;
};

// Returns "prefill 4096/15000 (27%) 1530 tokens/s, 7 s left".
std::string describe(const PrefillProgress& progress);

}  // namespace seer::cli
