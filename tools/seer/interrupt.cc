#include "tools/seer/interrupt.h"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

#include "seer/error.h"

namespace seer::cli {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;
volatile std::sig_atomic_t g_has_terminal = 0;
termios g_terminal;  // written while g_has_terminal is 0

// Both handlers are async-signal-safe: they only use flags and system calls.
extern "C" void handle_last(int signal) {
  if (g_has_terminal != 0) tcsetattr(STDIN_FILENO, TCSANOW, &g_terminal);
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  raise(signal);
}

extern "C" void handle_interrupt(int signal) {
  // If two signals come at once, both count as the first. SIGTERM is kept if it was one of them, because
  // Ctrl-C may end less than SIGTERM does.
  if (g_interrupted != SIGTERM) g_interrupted = signal;
  struct sigaction action = {};
  action.sa_handler = handle_last;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// Installs a handler, unless the parent ignores the signal (as nohup or a shell's background jobs do), which
// is intended.
void handle(std::initializer_list<int> signals, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  for (const int signal : signals) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
}

}  // namespace

void install_signal_handlers() {
  // SA_RESTART is not set, so that a read of stdin ends with EINTR.
  handle({SIGINT, SIGTERM}, handle_interrupt);
  handle({SIGHUP, SIGQUIT}, handle_last);
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  sigaction(SIGXFSZ, &ignore, nullptr);
}

int interrupting_signal() noexcept { return g_interrupted; }

void forget_interrupt() {
  g_interrupted = 0;
  install_signal_handlers();
}

bool interrupted() noexcept { return g_interrupted != 0; }

void restore_terminal_when_killed(const termios& mode) {
  forget_terminal();
  g_terminal = mode;
  g_has_terminal = 1;
}

void forget_terminal() { g_has_terminal = 0; }

void throw_if_interrupted() {
  if (interrupted()) throw Error(ErrorKind::kCancelled, "interrupted");
}

}  // namespace seer::cli
