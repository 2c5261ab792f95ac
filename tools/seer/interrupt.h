// Ctrl-C and SIGTERM. The first asks the running request to stop; the second kills the process. SIGHUP and
// SIGQUIT kill it at once. A signal that kills the process first restores the terminal.
#pragma once

#include <termios.h>

namespace seer::cli {

// Also ignores SIGPIPE and SIGXFSZ, so that the writes that cause them fail with an error, which is reported.
void install_signal_handlers();
// Returns whether a signal came. Every callback of a request returns !interrupted().
bool interrupted() noexcept;
// Returns the signal that came, SIGINT or SIGTERM, or 0 before either.
int interrupting_signal() noexcept;
// Behaves from now on as if no signal had come. A chat calls it, since Ctrl-C ends an answer there and not
// the program.
void forget_interrupt();
// Sets the mode to which a killing signal restores the terminal of standard input. There is none at the start
// and after forget_terminal(). Call both from one thread only.
void restore_terminal_when_killed(const termios& mode);
void forget_terminal();
// Throws Error{kCancelled} if interrupted().
void throw_if_interrupted();

}  // namespace seer::cli
