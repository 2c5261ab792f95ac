#include "tests/tools/run_seer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace seer::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLimit = std::chrono::minutes(2);
constexpr auto kShortLimit = std::chrono::seconds(5);

struct Pipe {
  int read = -1, write = -1;
};

Pipe make_pipe() {
  int fd[2];
  if (::pipe2(fd, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  return {fd[0], fd[1]};
}

// Returns a terminal: its controlling side in `read`, the terminal itself in `write`.
Pipe make_terminal() {
  const int control = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (control < 0 || ::grantpt(control) != 0 || ::unlockpt(control) != 0)
    throw std::runtime_error("no pseudo-terminal");
  const int terminal = ::open(::ptsname(control), O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) throw std::runtime_error("the pseudo-terminal cannot be opened");
  return {control, terminal};
}

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

void block_interrupt(int how) {
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  ::sigprocmask(how, &interrupt, nullptr);
}

[[noreturn]] void become_seer(const std::vector<std::string>& arguments, const RunOptions& options, int in,
                              int out, int err) {
  ::unsetenv("SEER_MODEL");
  ::unsetenv("SEER_GATES");
  ::setenv("SEER_DEVICE", "cpu", 1);
  // Lines are read without editing here; chat_terminal_test.py tests the editing.
  if (!options.session.empty()) ::setenv("TERM", "dumb", 1);
  if (options.stdout_path) out = ::open(options.stdout_path->c_str(), O_WRONLY | O_CLOEXEC);
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  if (options.close_stdout) ::close(STDOUT_FILENO);
  if (options.file_size_limit > 0) {
    const rlimit limit = {options.file_size_limit, options.file_size_limit};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  if (options.memory_limit > 0) {
    const rlimit limit = {options.memory_limit, options.memory_limit};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  // A signal that a parent ignores is also ignored in the child, and make and CI runners ignore some.
  for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) ::signal(signal, SIG_DFL);
  block_interrupt(SIG_UNBLOCK);
  std::vector<char*> argv;
  for (const std::string& argument : options.launcher) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(const_cast<char*>(options.launcher.empty() ? "seer" : SEER_BINARY));
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  if (options.launcher.empty()) {
    ::execv(SEER_BINARY, argv.data());
  } else {
    ::execvp(argv.front(), argv.data());
  }
  ::_exit(126);
}

// Moves the available bytes from `fd` to `text`. Closes `fd` at its end.
void take(int& fd, std::string& text) {
  char buffer[65536];
  const ssize_t n = ::read(fd, buffer, sizeof buffer);
  if (n > 0) {
    text.append(buffer, static_cast<size_t>(n));
  } else {
    close_fd(fd);  // a terminal that no process uses any more gives EIO
  }
}

void feed(int& fd, std::string& left, bool keep) {
  const ssize_t n = left.empty() ? 0 : ::write(fd, left.data(), left.size());
  if (n > 0) left.erase(0, static_cast<size_t>(n));
  if ((left.empty() && !keep) || n < 0) close_fd(fd);
}

}  // namespace

Outcome run_seer(const std::vector<std::string>& arguments, const RunOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);  // a child that does not read its input must not kill the tests
  Pipe in = make_pipe(), out = make_pipe();
  const bool typed = !options.session.empty();
  Pipe err = options.terminal || typed ? make_terminal() : make_pipe();
  block_interrupt(SIG_BLOCK);  // the test framework has a handler, which the child must not run
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) become_seer(arguments, options, typed ? err.write : in.read, out.write, err.write);
  block_interrupt(SIG_UNBLOCK);
  close_fd(in.read);
  close_fd(out.write);
  close_fd(err.write);
  if (options.drop_reader) close_fd(out.read);
  ::fcntl(in.write, F_SETFL, O_NONBLOCK);

  Outcome outcome;
  std::string left = options.input;
  if (left.empty() && !options.keep_input) close_fd(in.write);
  const Clock::time_point start = Clock::now();
  bool interrupted = false, acted = false;
  size_t step = 0;
  size_t seen[2] = {0, 0};  // bytes of the terminal's and stdout's output that were matched
  while (out.read >= 0 || err.read >= 0) {
    pollfd fds[] = {{out.read, POLLIN, 0}, {err.read, POLLIN, 0}, {left.empty() ? -1 : in.write, POLLOUT, 0}};
    ::poll(fds, 3, 5);
    if (fds[0].revents != 0) take(out.read, outcome.out);
    if (fds[1].revents != 0) take(err.read, outcome.err);
    if (fds[2].revents != 0) feed(in.write, left, options.keep_input);
    if (step < options.session.size()) {
      const Step& next = options.session[step];
      const size_t at = (next.on_stdout ? outcome.out : outcome.err).find(next.when, seen[next.on_stdout]);
      if (at != std::string::npos) {
        seen[0] = next.on_stdout ? outcome.err.size() : at + next.when.size();
        seen[1] = outcome.out.size();
        ++step;
        if (next.type.empty()) {
          ::kill(child, SIGINT);
        } else if (::write(err.read, next.type.data(), next.type.size()) < 0) {
          close_fd(err.read);
        }
      }
    }
    const auto elapsed = Clock::now() - start;
    const bool due = (options.interrupt_after && elapsed > *options.interrupt_after) ||
                     (options.interrupt_at &&
                      (outcome.out + outcome.err).find(*options.interrupt_at) != std::string::npos);
    if (due && !interrupted) {
      ::kill(child, SIGINT);
      interrupted = true;
    }
    if (options.act && !acted && (outcome.out + outcome.err).find(options.when_shown) != std::string::npos) {
      options.act(child);
      acted = true;
    }
    if (elapsed > (options.may_hang ? kShortLimit : kLimit)) {
      ::kill(child, SIGKILL);
      break;
    }
  }
  close_fd(in.write);
  close_fd(out.read);
  close_fd(err.read);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) outcome.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  INFO(outcome.err);
  REQUIRE((outcome.signal != SIGKILL || options.may_hang));
  CHECK(outcome.err.find("Sanitizer") == std::string::npos);
  CHECK(outcome.err.find("runtime error") == std::string::npos);
  return outcome;
}

std::string check_fails(const std::vector<std::string>& arguments, int code, const RunOptions& options) {
  const Outcome outcome = run_seer(arguments, options);
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK(outcome.out.empty());
  CHECK(outcome.err.starts_with("seer: error: "));
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == 1);
  return outcome.err;
}

std::string demo_model_dir() { return (demo_model() / "model").string(); }
std::string demo_gates_dir() { return (demo_model() / "gates").string(); }

}  // namespace seer::testing
