// stdout carries results and nothing else; stderr carries the rest. Every write to stdout is checked.
#pragma once

#include <string>
#include <string_view>

namespace seer::cli {

// Opens what the parent left closed of file descriptors 0 to 2, so that no model file or dump lands on them:
// a closed stdout stays unwritable and is reported when something is written.
void secure_standard_streams();

// Writes at once, without a buffer between. Throws Error{kRuntime} where stdout is closed, full or broken.
void write_stdout(std::string_view bytes);
// Closes stdout: some file systems report a full disk only then. Throws as write_stdout.
void close_stdout();

// As it is, for what is shown on a terminal; a failure is not worth one.
void write_stderr(std::string_view bytes);

// One line on stderr: "seer: TEXT", "seer: warning: TEXT" or "seer: error: TEXT", the last two coloured on a
// terminal. Control characters within `text` (a file name may hold anything) become '?'.
void log_info(std::string_view text);
void log_warning(std::string_view text);
void log_error(std::string_view text);

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

}  // namespace seer::cli
