// Standard output carries results and nothing else; stderr carries the rest. Every write to stdout is
// checked.
#pragma once

#include <string>
#include <string_view>

namespace seer::cli {

// Opens those of the file descriptors 0 to 2 that the parent left closed, so that no model file or dump is
// opened under their numbers. A closed stdout stays unwritable, which is reported when something is written.
void secure_standard_streams();

// Writes at once, without a buffer. On a terminal the text is shown as TerminalFilter shows it, so that text
// of others cannot control the terminal. Throws Error{kRuntime} if stdout is closed, full or broken.
void write_stdout(std::string_view bytes);
// Writes the bytes unchanged on a terminal too. It is for colours of our own.
void write_stdout_as_it_is(std::string_view bytes);
// Makes write_stdout() write everything unchanged from now on, on a terminal too, as --raw asks.
void leave_stdout_raw();
inline constexpr const char* kRawHelp =
    "let control characters of the text reach a terminal, which obeys them; otherwise it shows them as ^[ or "
    "\\x9b";
// Closes stdout, since some file systems report a full disk only then. Throws as write_stdout does.
void close_stdout();

// Writes text for a terminal unchanged, and ignores a failure.
void write_stderr(std::string_view bytes);

// Each writes one line on stderr: "seer: TEXT", "seer: warning: TEXT" or "seer: error: TEXT", the last two
// coloured on a terminal. TEXT is one_line(text) even if stderr is not a terminal, since a file name may hold
// anything.
void log_info(std::string_view text);
void log_warning(std::string_view text);
void log_error(std::string_view text);

bool stdin_is_terminal();
bool stdout_is_terminal();
bool stderr_is_terminal();

}  // namespace seer::cli
