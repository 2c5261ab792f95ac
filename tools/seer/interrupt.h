// Ctrl-C and SIGTERM: the first asks the running request to stop, the second kills the process.
#pragma once

namespace seer::cli {

// Also ignores SIGPIPE and SIGXFSZ, whose writes then fail with an error that is reported.
void install_signal_handlers();
// Set by the handler; every callback of a request returns !interrupted().
bool interrupted() noexcept;
// Throws Error{kCancelled} where interrupted().
void throw_if_interrupted();

}  // namespace seer::cli
