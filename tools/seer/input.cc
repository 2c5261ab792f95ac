#include "tools/seer/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "seer/error.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

constexpr const char* kSpace = " \t\r\n\v\f";

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ > STDERR_FILENO) ::close(fd_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::string read_bytes(const std::string& path) {
  const bool is_stdin = path == "-";
  const std::string name = is_stdin ? "standard input" : path;
  const FileDescriptor fd(is_stdin ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto fail = [&] {
    throw Error(ErrorKind::kFile, "cannot read " + name + ": " + std::strerror(errno));
  };
  if (fd.get() < 0) fail();
  std::string bytes;
  std::string buffer(1 << 16, '\0');
  while (true) {
    throw_if_interrupted();
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail();
    if (n == 0) return bytes;
    bytes.append(buffer, 0, static_cast<size_t>(n));
  }
}

std::vector<int32_t> parse_ids(const std::string& text, const std::string& source) {
  std::vector<int32_t> ids;
  for (size_t begin = text.find_first_not_of(kSpace); begin != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(kSpace, begin), text.size());
    int32_t id = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, id);
    if (error != std::errc() || stop != text.data() + end) {
      throw Error(ErrorKind::kUsage,
                  source + ": item " + std::to_string(ids.size() + 1) + ", '" +
                      text.substr(begin, std::min<size_t>(end - begin, 40)) +
                      "', is not a token id; expected whole numbers separated by white space");
    }
    ids.push_back(id);
    begin = text.find_first_not_of(kSpace, end);
  }
  return ids;
}

void check_ids(const std::vector<int32_t>& ids, int64_t n_vocab, const std::string& source) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < n_vocab) continue;
    throw Error(ErrorKind::kUsage,
                source + ": item " + std::to_string(i + 1) + ", token id " + std::to_string(ids[i]) +
                    ", is out of range; the vocabulary has ids 0 to " + std::to_string(n_vocab - 1));
  }
}

std::string join_ids(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) {
    if (!text.empty()) text += ' ';
    text += std::to_string(id);
  }
  return text;
}

void PromptOptions::add_to(Args& args, const std::string& what) {
  args.value("-p,--prompt", "TEXT", "none", what, into(text));
  args.value("-f,--file", "FILE", "stdin, unless it is a terminal",
             what + " is FILE's content, byte for byte; '-' is stdin", into(file));
}

void PromptOptions::add_tokens_file_to(Args& args) {
  args.value("--tokens-file", "FILE", "none",
             "the prompt is the token ids in FILE, separated by white space; nothing is added; '-' is stdin",
             into(tokens_file));
}

Prompt read_prompt(const PromptOptions& options, bool may_be_empty) {
  if (int{options.text.has_value()} + int{options.file.has_value()} + int{options.tokens_file.has_value()} >
      1)
    throw Error(ErrorKind::kUsage, "more than one prompt: give one of -p, -f and --tokens-file");
  Prompt prompt;
  if (options.text) {
    prompt.source = "-p";
    prompt.text = *options.text;
  } else {
    if (!options.file && !options.tokens_file && stdin_is_terminal())
      throw Error(ErrorKind::kUsage, "no prompt: give -p TEXT or -f FILE, or pipe one into standard input");
    const std::string path = options.tokens_file ? *options.tokens_file : options.file.value_or("-");
    prompt.source = path == "-" ? "standard input" : path;
    prompt.text = read_bytes(path);
  }
  if (options.tokens_file) {
    prompt.ids = parse_ids(prompt.text, prompt.source);
    prompt.text.clear();
  }
  if (!may_be_empty && prompt.text.empty() && (!prompt.ids || prompt.ids->empty()))
    throw Error(ErrorKind::kUsage, "the prompt (" + prompt.source + ") is empty; give at least one " +
                                       (prompt.ids ? "token id" : "character"));
  return prompt;
}

}  // namespace seer::cli
