// Ctrl-C and SIGTERM: the first asks the running request to stop, the second kills the process. SIGHUP and
// SIGQUIT kill at once; all that kill leave the terminal as it was.
#pragma once

#include <termios.h>

namespace seer::cli {

// Also ignores SIGPIPE and SIGXFSZ, whose writes then fail with an error that is reported.
void install_signal_handlers();
// Set by the handler; every callback of a request returns !interrupted().
bool interrupted() noexcept;
// SIGINT or SIGTERM, whichever came; 0 before either.
int interrupting_signal() noexcept;
// As if no signal had come: where Ctrl-C ends an answer and not the program.
void forget_interrupt();
// What the signal that kills sets the terminal of standard input to before. Absent from the start on, and
// again after forget_terminal(). One thread.
void restore_terminal_when_killed(const termios& mode);
void forget_terminal();
// Throws Error{kCancelled} where interrupted().
void throw_if_interrupted();

}  // namespace seer::cli
