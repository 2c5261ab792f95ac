// Help for programs whose model files may be cut short while they are used.
//
// On a CPU, weights are used where they lie in mapped files; for a GPU they are copied from there while they
// are loaded. If another process cuts such a file short meanwhile, or its disk fails, the system sends SIGBUS
// to a thread that reads the lost part, and by default this ends the process without a message. (To replace a
// model that is in use, write the new files under other names and rename them: a mapping keeps the old ones.)
//
// The library installs no signal handler by itself. A program that wants a message calls explain_lost_files()
// once; a program with its own SIGBUS handler can ask mapped_file_at() which file was lost.
#pragma once

#include <string>

#include "seer/error.h"

namespace seer {

// Installs a handler of SIGBUS for the whole process. If the fault lies in a file that the library has
// mapped, it writes `prefix` and one line that names the file to standard error, and ends the process by
// _exit(exit_code): no destructor and no atexit function runs. Any other SIGBUS goes to the handler that was
// there before, or ends the process as it would have. Later calls change the prefix (of which 63 bytes count)
// and the code, and must not run at the same time as another. Throws Error{kRuntime} if the handler cannot be
// installed.
SEER_API void explain_lost_files(const std::string& prefix, int exit_code);

// Returns the path of the file that the library has mapped at the address (siginfo_t's si_addr), or nullptr
// if there is none. Safe in a signal handler; the result lives as long as the mapping, that is the engine.
SEER_API const char* mapped_file_at(const void* address) noexcept;

}  // namespace seer
