#include "tools/seer/interrupt.h"

#include <csignal>

#include "seer/error.h"

namespace seer::cli {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

// Async-signal-safe: a flag and two sigaction calls.
extern "C" void handle_interrupt(int signal) {
  g_interrupted = signal;
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = handle_interrupt;  // without SA_RESTART: a read of stdin ends with EINTR
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    // A parent that ignores the signal (nohup-like, or a shell's background job) means it.
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);
  }
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

void throw_if_interrupted() {
  if (interrupted()) throw Error(ErrorKind::kCancelled, "interrupted");
}

}  // namespace seer::cli
