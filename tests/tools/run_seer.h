// Runs the built `seer` as a user's shell would, and returns its output and how it ended.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace seer::testing {

// One step of a person at a terminal: waits until the terminal shows `when` (after the text of the step
// before), then types `type`, or presses Ctrl-C if that is empty. With on_stdout, `when` is looked for on
// standard output instead.
struct Step {
  std::string when, type;
  bool on_stdout = false;
};

struct RunOptions {
  std::vector<std::string> launcher;       // the words before seer: {"mpirun", "-np", "2"}
  std::string input;                       // standard input
  bool keep_input = false;                 // keeps the pipe of `input` open after its text
  std::optional<std::string> stdout_path;  // opened for writing in place of a pipe, for example "/dev/full"
  bool close_stdout = false;               // as `>&-` does
  bool drop_reader = false;                // the pipe's reader closes at once, as `| head -c0` does
  bool terminal = false;      // standard error is a terminal; Outcome::err is the text that it showed
  std::vector<Step> session;  // if not empty, standard input and error are a terminal that is used like this
  std::optional<std::string> interrupt_at;  // sends SIGINT once stdout and stderr together hold this text
  std::optional<std::chrono::milliseconds> interrupt_after;  // sends SIGINT this long after the start
  // Called once with the process's id when stdout and stderr together hold `when_shown`.
  std::string when_shown;
  std::function<void(int pid)> act;
  size_t file_size_limit = 0;  // RLIMIT_FSIZE in bytes; 0: no limit
  size_t memory_limit = 0;     // RLIMIT_AS in bytes; 0: no limit
  bool may_hang = false;       // the program is then killed after some seconds, and Outcome::signal shows it
};

struct Outcome {
  int code = -1;   // the exit code
  int signal = 0;  // the signal that killed it; 0 if it exited
  std::string out, err;
};

// Removes the environment variables that seer reads (SEER_MODEL, SEER_GATES), and sets SEER_DEVICE to cpu, so
// that a machine with a GPU gives the same answers. A run of more than two minutes is killed and fails the
// test.
Outcome run_seer(const std::vector<std::string>& arguments, const RunOptions& options = {});

// Runs a command that must fail. Checks the exit code, that stdout is empty, that stderr is "seer: error:
// ..." on one line, and that no sanitizer reported anything. Returns stderr.
std::string check_fails(const std::vector<std::string>& arguments, int code, const RunOptions& options = {});

std::string demo_model_dir();
std::string demo_gates_dir();

}  // namespace seer::testing
