#include "tools/seer/line_editor.h"

#include <histedit.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include "seer/error.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/output.h"
#include "tools/seer/terminal_input.h"

namespace seer::cli {
namespace {

constexpr int kLookMs = 200;  // ms between two checks of everything but the keyboard
constexpr int kHistoryLength = 1000;
constexpr const char* kMarkPastes = "\033[?2004h";
constexpr const char* kDoNotMarkPastes = "\033[?2004l";

std::string utf8(std::wstring_view text) {
  std::string out;
  for (const wchar_t w : text) {
    const auto c = static_cast<uint32_t>(w);  // NOLINT(bugprone-signed-char-misuse): no char
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += {static_cast<char>(0xc0 | c >> 6U), static_cast<char>(0x80 | (c & 0x3fU))};
    } else if (c < 0x10000) {
      out += {static_cast<char>(0xe0 | c >> 12U), static_cast<char>(0x80 | (c >> 6U & 0x3fU)),
              static_cast<char>(0x80 | (c & 0x3fU))};
    } else {
      out += {static_cast<char>(0xf0 | c >> 18U), static_cast<char>(0x80 | (c >> 12U & 0x3fU)),
              static_cast<char>(0x80 | (c >> 6U & 0x3fU)), static_cast<char>(0x80 | (c & 0x3fU))};
    }
  }
  return out;
}

// Converts a text, which must be valid UTF-8.
std::wstring wide(std::string_view text) {
  std::wstring out;
  for (size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t code = n == 1 ? first : first & (0xffU >> (n + 1));
    for (size_t k = 1; k < n && i + k < text.size(); ++k)
      code = code << 6U | (static_cast<unsigned char>(text[i + k]) & 0x3fU);
    out += static_cast<wchar_t>(code);
    i += n;
  }
  return out;
}

// Sets a UTF-8 locale. libedit asks the locale how wide a character is, and whether it can be shown.
void use_utf8() {
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineEditor::Impl {
  Impl(std::string file, std::function<void()> while_waiting);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void bind_keys();
  void load_history();
  void keep_what_is_typed();
  void wait_for_input();
  void look_at_terminal();
  bool resize();
  std::optional<std::string> next(const std::string& shown);
  void remember(const std::string& message);

  // libedit's callbacks. No exception may pass through libedit, so one is kept in `failure` and ends the
  // line.
  static int get_character(EditLine* editor, wchar_t* c);
  static unsigned char take_paste(EditLine* editor, int key);
  static unsigned char go_on(EditLine* editor, int key);
  static wchar_t* show_prompt(EditLine* editor);
  static Impl& of(EditLine* editor);

  std::string history_file;
  std::function<void()> check;
  TerminalInput input;
  FILE* screen = nullptr;
  EditLine* editor = nullptr;
  HistoryW* history = nullptr;
  std::string last;     // the last remembered message
  std::wstring prompt;  // of the current line
  termios before = {};  // the terminal's mode before, to which it is restored
  winsize size = {};
  bool pasting = false;
  bool resized = false;  // a change of size ended the line, which continues with `started`
  std::wstring started;  // the text of the line typed so far
  int cursor = 0;        // the cursor's place in `started`
  std::exception_ptr failure;
};

// Thrown if a window changes its size in the middle of a line.
struct Resized {};

LineEditor::Impl::Impl(std::string file, std::function<void()> while_waiting)
    : history_file(std::move(file)), check(std::move(while_waiting)), input([this] { wait_for_input(); }) {
  use_utf8();
  if (::tcgetattr(STDIN_FILENO, &before) != 0)
    throw Error(ErrorKind::kRuntime, std::string("the terminal cannot be used: ") + std::strerror(errno));
  // A separate buffered stream is used, because standard error is not buffered and libedit writes character
  // by character.
  if (const int fd = ::dup(STDERR_FILENO); fd >= 0) screen = ::fdopen(fd, "w");
  if (screen != nullptr) editor = el_init("seer", stdin, screen, screen);
  history = history_winit();
  if (editor == nullptr || history == nullptr)
    throw Error(ErrorKind::kRuntime, "the terminal cannot be used for editing; try TERM=dumb");
  el_set(editor, EL_CLIENTDATA, this);
  el_set(editor, EL_SIGNAL, 0);  // the program handles signals itself
  el_wset(editor, EL_PROMPT, &show_prompt);
  el_wset(editor, EL_GETCFN, &get_character);
  HistEventW event = {};
  history_w(history, &event, H_SETSIZE, kHistoryLength);
  el_wset(editor, EL_HIST, history_w, history);
  bind_keys();
  load_history();
  resize();
  restore_terminal_when_killed(before);
  keep_what_is_typed();
  write_stderr(kMarkPastes);
}

LineEditor::Impl::~Impl() {
  if (history != nullptr) history_wend(history);
  if (editor != nullptr) el_end(editor);
  write_stderr(kDoNotMarkPastes);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &before);
  forget_terminal();
  if (screen != nullptr) (void)std::fclose(screen);
}

void LineEditor::Impl::bind_keys() {
  el_set(editor, EL_EDITOR, "emacs");
  const std::pair<const char*, const char*> keys[] = {
      {"\\e[H", "ed-move-to-beg"},  {"\\e[1~", "ed-move-to-beg"},      {"\\e[F", "ed-move-to-end"},
      {"\\e[4~", "ed-move-to-end"}, {"\\e[3~", "ed-delete-next-char"}, {"\\e[1;5C", "em-next-word"},
      {"\\e[1;5D", "ed-prev-word"}, {"^R", "em-inc-search-prev"},
  };
  for (const auto& [key, action] : keys) el_set(editor, EL_BIND, key, action, nullptr);
  el_source(editor, nullptr);  // ~/.editrc, if there is one
  // At the end of every line libedit restores the terminal's mode. With this setting that mode does not
  // collect lines. If it did, even for the moment until keep_what_is_typed(), a Backspace typed at that
  // moment would delete a byte of what was typed before it.
  el_set(editor, EL_SETTY, "-x", "-icanon", nullptr);
  el_set(editor, EL_ADDFN, "seer-paste", "takes what is pasted as it is", &take_paste);
  el_set(editor, EL_BIND, "\\e[200~", "seer-paste", nullptr);
  el_set(editor, EL_ADDFN, "seer-go-on", "goes on with a line after the window has changed", &go_on);
  el_set(editor, EL_BIND, "\\e[9999~", "seer-go-on", nullptr);
}

// Sets the terminal for the time between two lines, while an answer is written. It is as before, except that
// it does not collect lines, which it would cut at 4095 bytes.
void LineEditor::Impl::keep_what_is_typed() {
  termios mode = before;
  mode.c_lflag &= ~static_cast<tcflag_t>(ICANON);
  mode.c_cc[VMIN] = 1;
  mode.c_cc[VTIME] = 0;
  ::tcsetattr(STDIN_FILENO, TCSANOW, &mode);
}

void LineEditor::Impl::load_history() {
  if (history_file.empty()) return;
  HistEventW event = {};
  errno = 0;
  if (history_w(history, &event, H_LOAD, history_file.c_str()) >= 0) return;
  if (errno == ENOENT) return;  // there is no history yet
  throw Error(ErrorKind::kFile, history_file + ": the history cannot be read: " +
                                    (errno != 0 ? std::strerror(errno) : "expected a file of libedit's"));
}

void LineEditor::Impl::wait_for_input() {
  pollfd keyboard = {STDIN_FILENO, POLLIN, 0};
  do {
    throw_if_interrupted();
    if (check) check();
    look_at_terminal();
  } while (::poll(&keyboard, 1, kLookMs) <= 0);
}

// Checks whether the window has another size, and sets the terminal's mode again, since it may have been
// reset while the process was stopped.
void LineEditor::Impl::look_at_terminal() {
  termios mode = {};
  if (::tcgetattr(STDIN_FILENO, &mode) == 0 && (mode.c_lflag & ICANON) != 0) {
    el_set(editor, EL_PREP_TERM, 0);  // without this, libedit takes the terminal for prepared already
    el_set(editor, EL_PREP_TERM, 1);
    write_stderr(kMarkPastes);
    el_set(editor, EL_REFRESH);
  }
  // The line would begin again without the part of a key's sequence that libedit has taken.
  if (!pasting && !input.within_sequence() && resize()) throw Resized();
}

bool LineEditor::Impl::resize() {
  winsize now = {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &now) != 0) return false;
  const bool changed = now.ws_col != size.ws_col || now.ws_row != size.ws_row;
  size = now;
  return changed;
}

LineEditor::Impl& LineEditor::Impl::of(EditLine* editor) {
  void* self = nullptr;
  el_get(editor, EL_CLIENTDATA, &self);
  return *static_cast<Impl*>(self);
}

int LineEditor::Impl::get_character(EditLine* editor, wchar_t* c) {
  Impl& self = of(editor);
  try {
    const std::optional<char32_t> next = self.input.next();
    if (!next) return 0;
    *c = static_cast<wchar_t>(*next);
    return 1;
  } catch (const Resized&) {
    const LineInfoW* line = el_wline(editor);
    self.resized = true;
    self.started.assign(line->buffer, line->lastchar);
    self.cursor = static_cast<int>(line->cursor - line->buffer);
    return -1;
  } catch (...) {
    self.failure = std::current_exception();
    return -1;
  }
}

unsigned char LineEditor::Impl::take_paste(EditLine* editor, int /*key*/) {
  Impl& self = of(editor);
  self.pasting = true;
  try {
    const std::u32string text = self.input.paste();
    const std::wstring wide(text.begin(), text.end());
    self.pasting = false;
    return el_winsertstr(editor, wide.c_str()) == 0 || wide.empty() ? CC_REFRESH : CC_ERROR;
  } catch (...) {
    self.pasting = false;
    self.failure = std::current_exception();
    return CC_EOF;
  }
}

unsigned char LineEditor::Impl::go_on(EditLine* editor, int /*key*/) {
  Impl& self = of(editor);
  if (!self.started.empty() && el_winsertstr(editor, self.started.c_str()) != 0) return CC_ERROR;
  el_cursor(editor, self.cursor - static_cast<int>(self.started.size()));
  return CC_REFRESH;
}

wchar_t* LineEditor::Impl::show_prompt(EditLine* editor) { return of(editor).prompt.data(); }

std::optional<std::string> LineEditor::Impl::next(const std::string& shown) {
  prompt.assign(shown.begin(), shown.end());
  failure = nullptr;
  resize();
  el_resize(editor);
  int n = 0;
  const wchar_t* line = el_wgets(editor, &n);
  // After a change of size, libedit's own way to redraw a line writes beyond its buffers if the window has
  // become smaller than the line (3.1-20221030). So the line is started anew, with the text typed so far.
  while (resized) {
    resized = false;
    el_resize(editor);
    write_stderr("\r\n");
    input.unread("\033[9999~");
    line = el_wgets(editor, &n);
  }
  keep_what_is_typed();
  if (failure) std::rethrow_exception(failure);
  if (line == nullptr || n <= 0) return std::nullopt;
  std::wstring_view text(line, static_cast<size_t>(n));
  while (!text.empty() && (text.back() == L'\n' || text.back() == L'\r')) text.remove_suffix(1);
  return utf8(text);
}

void LineEditor::Impl::remember(const std::string& message) {
  // A NUL would end the text in libedit's history.
  if (message.empty() || message == last || message.find('\0') != message.npos) return;
  last = message;
  HistEventW event = {};
  history_w(history, &event, H_ENTER, wide(message).c_str());
  if (history_file.empty()) return;
  errno = 0;
  if (history_w(history, &event, H_SAVE, history_file.c_str()) < 0)
    throw Error(ErrorKind::kFile, history_file + ": the history cannot be written: " + std::strerror(errno));
}

bool LineEditor::usable() {
  const char* terminal = std::getenv("TERM");
  return stdin_is_terminal() && stderr_is_terminal() && terminal != nullptr && *terminal != '\0' &&
         std::strcmp(terminal, "dumb") != 0;
}

LineEditor::LineEditor(const std::string& history_file, std::function<void()> while_waiting)
    : impl_(std::make_unique<Impl>(history_file, std::move(while_waiting))) {}

LineEditor::~LineEditor() = default;

std::optional<std::string> LineEditor::next(const std::string& prompt) { return impl_->next(prompt); }

void LineEditor::remember(const std::string& message) { impl_->remember(message); }

}  // namespace seer::cli
