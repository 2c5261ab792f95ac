// Lines typed on a terminal: what they hold does not depend on when their bytes arrive.
#include "tools/seer/line_editor.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_data.h"

namespace {

std::function<void()> after_mode_change;  // called after every call of tcsetattr() in this process

}  // namespace

// Replaces the C library's function, also for libedit.
extern "C" [[gnu::visibility("default")]] int tcsetattr(int fd, int actions, const termios* mode) noexcept {
  static const auto real = reinterpret_cast<decltype(&tcsetattr)>(::dlsym(RTLD_NEXT, "tcsetattr"));
  const int result = real(fd, actions, mode);
  if (after_mode_change) after_mode_change();
  return result;
}

// For each editor, libedit copies the names of the functions that a program adds (EL_ADDFN), and never frees
// them. So LeakSanitizer must not report these copies.
extern "C" [[gnu::visibility("default")]] const char*
__lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "leak:wcsdup";
}

namespace seer {
namespace {

constexpr const char* kLeft = "\x1b[D";
constexpr const char* kHome = "\x1b[H";
constexpr const char* kDelete = "\x1b[3~";

// A terminal that is this process's standard input and standard error, and the person who types on it.
class Terminal {
 public:
  Terminal() {
    ::setenv("HOME", home_.path().c_str(), 1);  // no ~/.editrc
    ::setenv("TERM", "xterm", 1);
    if (::openpty(&control_, &terminal_, nullptr, nullptr, nullptr) != 0)
      throw std::runtime_error("no terminal");
    ::fcntl(control_, F_SETFL, O_NONBLOCK);
    resize(24, 80);
    ::dup2(terminal_, STDIN_FILENO);
    ::dup2(terminal_, STDERR_FILENO);
  }
  ~Terminal() {
    ::dup2(stdin_, STDIN_FILENO);
    ::dup2(stderr_, STDERR_FILENO);
    for (const int fd : {control_, terminal_, stdin_, stderr_}) ::close(fd);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& bytes) const {
    if (::write(control_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()))
      throw std::runtime_error("the terminal takes no more");
  }
  void resize(unsigned short rows, unsigned short columns) const {
    const winsize size = {rows, columns, 0, 0};
    ::ioctl(control_, TIOCSWINSZ, &size);
  }
  // Reads what the terminal shows. If nobody read it, the process would wait for that when it writes.
  void look() const {
    char shown[65536];
    while (::read(control_, shown, sizeof shown) > 0) continue;
  }
  // Waits until there is something to read for the process.
  void wait_until_typed() const {
    pollfd keyboard = {terminal_, POLLIN, 0};
    if (::poll(&keyboard, 1, 60'000) != 1) throw std::runtime_error("what was typed never arrived");
  }
  void set_mode(tcflag_t more) const {
    termios mode = {};
    ::tcgetattr(terminal_, &mode);
    mode.c_lflag |= more;
    ::tcsetattr(terminal_, TCSANOW, &mode);
  }
  bool collects_lines() const {
    termios mode = {};
    ::tcgetattr(terminal_, &mode);
    return (mode.c_lflag & ICANON) != 0;
  }

 private:
  testing::TempDir home_;
  int stdin_ = ::dup(STDIN_FILENO), stderr_ = ::dup(STDERR_FILENO);
  int control_ = -1, terminal_ = -1;
};

// Types a piece each time that the editor has read all before it and waits for more.
class Typist {
 public:
  std::string line(std::deque<std::string> pieces, bool resizing = false) {
    pieces_ = std::move(pieces);
    resizing_ = resizing;
    n_looks_ = 0;
    return editor_.next("> ").value();
  }
  const Terminal& terminal() const { return terminal_; }
  std::function<void()> when_idle;

 private:
  void wait() {
    terminal_.look();
    if (pieces_.empty()) {
      if (when_idle) when_idle();
      if (++n_looks_ > 300) throw std::runtime_error("the line never ended");
      return;
    }
    terminal_.type(pieces_.front());
    pieces_.pop_front();
    if (resizing_ && pieces_.empty()) terminal_.resize(24, width_ = 180 - width_);
  }

  Terminal terminal_;
  std::deque<std::string> pieces_;
  bool resizing_ = false;  // as the last piece comes, after those before it have been read
  unsigned short width_ = 80;
  int n_looks_ = 0;
  cli::LineEditor editor_{"", [this] { wait(); }};
};

struct Typed {
  std::string keys, line;
};

std::vector<Typed> lines() {
  const std::string left = kLeft;
  return {
      {"hallo" + left + left + left +
           "\x08"
           "e\r",
       "hello"},
      {std::string("world") + kHome + kDelete + "W\r", "World"},
      {"Grüße, 世界 😀" + left + left + "\x7f月\r", "Grüße, 世月 😀"},
      {"ab\x1bODc\r", "acb"},  // an arrow as it is sent in another mode
      {"one two\x1b"
       "bx\r",
       "one xtwo"},                         // a word back
      {"one two\x1b[1;5Dx\r", "one xtwo"},  // the same
      {"a\xe4\xb8"
       "b\xff\r",
       "a\ufffdb\ufffd"},  // a character that was cut off, and none
      {"say \x1b[200~one\r\ttwo\x1b[Ax\x1b[201~!\r", "say one\n\ttwo\x1b[Ax!"},
  };
}

TEST_CASE("a line is the same wherever its bytes are split, and if each comes alone") {
  Typist typist;
  for (const auto& [keys, line] : lines()) {
    CAPTURE(line);
    for (size_t at = 1; at < keys.size(); ++at) {
      CAPTURE(at);
      CHECK(typist.line({keys.substr(0, at), keys.substr(at)}) == line);
    }
    std::deque<std::string> bytes;
    for (const char byte : keys) bytes.emplace_back(1, byte);
    CHECK(typist.line(bytes) == line);
  }
}

TEST_CASE("a line is the same wherever in it the window changes its size, within a key's bytes too") {
  Typist typist;
  for (const auto& [keys, line] : lines()) {
    CAPTURE(line);
    for (size_t at = 1; at < keys.size(); ++at) {
      CAPTURE(at);
      CHECK(typist.line({keys.substr(0, at), keys.substr(at)}, true) == line);
    }
  }
}

TEST_CASE(
    "lines that are typed ahead, at the moments when the terminal changes its mode, are edited as ever") {
  Typist typist;
  int n_typed = 0;
  const int n_lines = 12;
  after_mode_change = [&] {
    if (n_typed == n_lines) return;
    ++n_typed;
    typist.terminal().look();
    typist.terminal().type(std::string("ab") + kLeft + "\x7f" + "c\r");
    typist.terminal().wait_until_typed();  // so that the terminal takes the keys in this mode
  };
  std::vector<std::string> got;
  for (int i = 0; i < n_lines; ++i) got.push_back(typist.line({}));
  after_mode_change = nullptr;
  CHECK(n_typed == n_lines);
  CHECK(got == std::vector<std::string>(n_lines, "cb"));
}

TEST_CASE("a terminal that someone made collect lines meanwhile is edited on again") {
  Typist typist;
  bool prepared = false;
  typist.terminal().look();
  CHECK(typist.line({"before\r"}) == "before");
  int n_looks = 0;
  typist.when_idle = [&] {
    // A shell that has stopped the process sets this mode before the process goes on.
    if (n_looks == 1) typist.terminal().set_mode(ICANON | ECHO);
    if (n_looks == 3) {
      prepared = !typist.terminal().collects_lines();
      typist.terminal().type(std::string("ab") + kLeft + "c\r");
    }
    ++n_looks;
  };
  CHECK(typist.line({}) == "acb");
  CHECK(prepared);
}

}  // namespace
}  // namespace seer
