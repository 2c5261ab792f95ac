#include "seer/mapped_files.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <utility>

#include "models/mapped_ranges.h"
#include "seer/seer.h"

namespace seer {
namespace {

// The data of the signal handler. It is prepared before the handler is installed.
std::array<char, 64> g_prefix{};
volatile std::sig_atomic_t g_exit_code = 1;
struct sigaction g_before {};

constexpr std::string_view kReason =
    ": the file was cut short or became unreadable while it was in use. Leave a model's files unchanged "
    "while "
    "they are used; check this one, and start again.\n";

void write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    text.remove_prefix(static_cast<size_t>(n));
  }
}

// Writes one line, whatever the path contains.
void write_printable(const char* path) {
  std::array<char, 256> part{};
  size_t n = 0;
  for (; *path != '\0'; ++path) {
    const auto c = static_cast<unsigned char>(*path);
    part[n++] = c < 0x20 || c == 0x7F ? '?' : *path;
    if (n == part.size()) write_stderr({part.data(), std::exchange(n, 0)});
  }
  write_stderr({part.data(), n});
}

// Handles the signal as if this handler did not exist.
void pass_on(int signal, siginfo_t* info, void* context) {
  if ((g_before.sa_flags & SA_SIGINFO) != 0) {
    g_before.sa_sigaction(signal, info, context);
  } else if (g_before.sa_handler != SIG_DFL && g_before.sa_handler != SIG_IGN) {
    g_before.sa_handler(signal);
  } else if (g_before.sa_handler == SIG_DFL || info->si_code > 0) {
    // The signal is blocked until the handler returns; then it ends the process.
    sigaction(signal, &g_before, nullptr);
    ::raise(signal);
  }
}

extern "C" void handle_sigbus(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  // A signal that was sent by a process has no address.
  const char* path = info->si_code > 0 ? MappedRange::path_at(info->si_addr) : nullptr;
  if (path != nullptr) {
    write_stderr(g_prefix.data());
    write_printable(path);
    write_stderr(kReason);
    ::_exit(g_exit_code);
  }
  pass_on(signal, info, context);
  errno = saved;
}

}  // namespace

void explain_lost_files(const std::string& prefix, int exit_code) {
  g_prefix.fill('\0');
  prefix.copy(g_prefix.data(), g_prefix.size() - 1);
  g_exit_code = exit_code;
  struct sigaction current {};
  sigaction(SIGBUS, nullptr, &current);
  if ((current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == handle_sigbus) return;
  g_before = current;
  struct sigaction action {};
  action.sa_sigaction = handle_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGBUS, &action, nullptr) != 0)
    throw Error(ErrorKind::kRuntime,
                std::string("the handler of SIGBUS cannot be installed: ") + std::strerror(errno));
}

const char* mapped_file_at(const void* address) noexcept { return MappedRange::path_at(address); }

}  // namespace seer

const char* seer_mapped_file_at(const void* address) { return seer::mapped_file_at(address); }
