#include "tools/seer/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "seer/error.h"
#include "tools/seer/rank_options.h"
#include "tools/seer/terminal_text.h"

namespace seer::cli {
namespace {

[[noreturn]] void fail(int error) {
  throw Error(ErrorKind::kRuntime, std::string("cannot write to standard output: ") + std::strerror(error));
}

// Returns false, with errno set, if not all bytes could be written.
bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

spdlog::logger& logger() {
  static const auto instance = [] {
    const auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    sink->set_color(spdlog::level::info, sink->reset);
    auto made = std::make_unique<spdlog::logger>("seer", sink);
    made->set_pattern("%^seer: %v%$");
    made->flush_on(spdlog::level::trace);
    made->set_error_handler([](const std::string&) {});  // if stderr fails, there is no other way to report
                                                         // it
    return made;
  }();
  return *instance;
}

struct Stdout {
  bool filtered = stdout_is_terminal();
  TerminalFilter filter;
};

Stdout& standard_output() {
  static Stdout instance;
  return instance;
}

}  // namespace

void secure_standard_streams() {
  // open() returns the lowest free number, so that in ascending order each gap is filled with its own stream.
  for (int fd = 0; fd <= 2; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // For stdout it is opened read-only, so that writing fails with EBADF instead of being lost.
    const int opened = ::open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY);
    if (opened >= 0 && opened != fd) ::close(opened);
  }
}

void write_stdout_as_it_is(std::string_view bytes) {
  if (!write_all(STDOUT_FILENO, bytes)) fail(errno);
}

void write_stdout(std::string_view bytes) {
  Stdout& out = standard_output();
  if (!out.filtered) return write_stdout_as_it_is(bytes);
  write_stdout_as_it_is(out.filter.push(bytes));
}

void leave_stdout_raw() { standard_output().filtered = false; }

void close_stdout() {
  write_stdout_as_it_is(standard_output().filter.finish());
  if (::close(STDOUT_FILENO) != 0 && errno != EBADF) fail(errno);
}

void write_stderr(std::string_view bytes) { write_all(STDERR_FILENO, bytes); }

void log_info(std::string_view text) { logger().info("{}", one_line(text)); }
void log_warning(std::string_view text) { logger().warn("warning: {}", one_line(text)); }
void log_error(std::string_view text) { logger().error("error: {}", one_line(text)); }

bool stdin_is_terminal() { return ::isatty(STDIN_FILENO) == 1; }
// mpirun gives its ranks a terminal of their own, whatever its own stdout is.
bool stdout_is_terminal() { return !launched_ranks() && ::isatty(STDOUT_FILENO) == 1; }
bool stderr_is_terminal() { return ::isatty(STDERR_FILENO) == 1; }

}  // namespace seer::cli
