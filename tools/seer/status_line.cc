#include "tools/seer/status_line.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "tools/seer/format.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

using Clock = std::chrono::steady_clock;

size_t terminal_width() {
  winsize size = {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

StatusLine::StatusLine() : enabled_(stderr_is_terminal()), next_(Clock::now()) {}

void StatusLine::update(const std::string& text) {
  if (!enabled_ || Clock::now() < next_) return;
  next_ = Clock::now() + std::chrono::milliseconds(100);
  // The line is cut, because a line that wraps could not be erased.
  std::string line = text.substr(0, terminal_width() - 1);
  const size_t shown = line.size();
  line.resize(std::max(shown, width_), ' ');
  write_stderr("\r" + line);
  width_ = shown;
}

void StatusLine::clear() {
  if (width_ == 0) return;
  // It is erased with blanks instead of an escape sequence, because every terminal understands them.
  write_stderr("\r" + std::string(width_, ' ') + "\r");
  width_ = 0;
}

std::string describe(const PrefillProgress& progress) {
  const int64_t done = progress.cached + progress.processed;
  std::string text = "prefill " + std::to_string(done) + "/" + std::to_string(progress.total);
  if (progress.total > 0)
    text += format(" (%.0f%%)", 100.0 * static_cast<double>(done) / static_cast<double>(progress.total));
  if (progress.processed > 0 && progress.time_ms > 0.0) {
    const double rate = static_cast<double>(progress.processed) / progress.time_ms * 1e3;
    text += format(" %.0f tokens/s, %.0f s left", rate, static_cast<double>(progress.total - done) / rate);
  }
  return text;
}

}  // namespace seer::cli
