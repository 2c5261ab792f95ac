// stdout carries results and nothing else; stderr carries the rest. Every write to stdout is checked.
#pragma once

#include <string>
#include <string_view>

namespace seer::cli {

// Opens what the parent left closed of file descriptors 0 to 2, so that no model file or dump lands on them:
// a closed stdout stays unwritable and is reported when something is written.
void secure_standard_streams();

// Writes at once, without a buffer between; on a terminal as TerminalFilter shows it, so that no text of
// others controls the terminal. Throws Error{kRuntime} where stdout is closed, full or broken.
void write_stdout(std::string_view bytes);
// The same, but a terminal gets the bytes as they are too: for colours of our own.
void write_stdout_as_it_is(std::string_view bytes);
// From now on write_stdout() writes everything as it is, on a terminal too: what --raw asks for.
void leave_stdout_raw();
inline constexpr const char* kRawHelp =
    "let control characters of the text reach a terminal, which obeys them; otherwise it shows them as ^[ or "
    "\\x9b";
// Closes stdout: some file systems report a full disk only then. Throws as write_stdout.
void close_stdout();

// As it is, for what is shown on a terminal; a failure is not worth one.
void write_stderr(std::string_view bytes);

// One line on stderr: "seer: TEXT", "seer: warning: TEXT" or "seer: error: TEXT", the last two coloured on a
// terminal. TEXT is one_line(text), wherever stderr goes: a file name may hold anything.
void log_info(std::string_view text);
void log_warning(std::string_view text);
void log_error(std::string_view text);

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

}  // namespace seer::cli
