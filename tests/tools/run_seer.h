// Runs the built `seer` as a user's shell would, and returns what it wrote and how it ended.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace seer::testing {

// One step of somebody at a terminal: waits until it shows `when` (after what was waited for before), then
// types `type`, or presses Ctrl-C where that is empty. on_stdout: `when` is looked for there instead.
struct Step {
  std::string when, type;
  bool on_stdout = false;
};

struct RunOptions {
  std::vector<std::string> launcher;        // goes before seer: {"mpirun", "-np", "2"}
  std::string input;                        // standard input
  bool keep_input = false;                  // the pipe of `input` stays open after it
  std::optional<std::string> stdout_path;   // opened for writing in place of a pipe, "/dev/full" say
  bool close_stdout = false;                // as `>&-` does
  bool drop_reader = false;                 // the pipe's reader goes away at once, as `| head -c0` does
  bool terminal = false;                    // standard error is a terminal; Outcome::err is what it showed
  std::vector<Step> session;                // standard input and error are a terminal, used like this
  std::optional<std::string> interrupt_at;  // SIGINT once stdout and stderr together hold this text
  std::optional<std::chrono::milliseconds> interrupt_after;  // SIGINT this long after the start
  // Called once with the process's id when stdout and stderr together hold `when_shown`.
  std::string when_shown;
  std::function<void(int pid)> act;
  size_t file_size_limit = 0;  // RLIMIT_FSIZE in bytes; 0: none
  size_t memory_limit = 0;     // RLIMIT_AS in bytes; 0: none
  bool may_hang = false;       // then it is killed after some seconds, and Outcome::signal says so
};

struct Outcome {
  int code = -1;   // the exit code
  int signal = 0;  // that killed it; 0 where it exited
  std::string out, err;
};

// Environment variables of the parent that seer reads (SEER_MODEL, SEER_GATES) are removed, and SEER_DEVICE
// is cpu, so that a machine with a GPU gives the same answers. A run of more than two minutes is killed and
// fails the test.
Outcome run_seer(const std::vector<std::string>& arguments, const RunOptions& options = {});

// A shell's `... 2>&1` of a failed command: checks the exit code, that nothing reached stdout, that stderr is
// "seer: error: ..." on one line, and that no sanitizer spoke. Returns stderr.
std::string check_fails(const std::vector<std::string>& arguments, int code, const RunOptions& options = {});

std::string demo_model_dir();
std::string demo_gates_dir();

}  // namespace seer::testing
