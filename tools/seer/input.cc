#include "tools/seer/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "engine/base/file_reader.h"
#include "seer/error.h"
#include "tools/seer/interrupt.h"
#include "tools/seer/output.h"

namespace seer::cli {
namespace {

constexpr const char* kSpace = " \t\r\n\v\f";

// This is far more than any context holds, and fits the memory of most machines.
constexpr uint64_t kMaxBytes = uint64_t{256} << 20;

// Opens the input, and waits for the writer of a pipe, as other programs do. A shell's <(...) is a pipe.
FileDescriptor open_input(const std::string& path) {
  while (true) {
    throw_if_interrupted();
    FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (fd.get() >= 0) return fd;
    if (errno != EINTR) throw Error(ErrorKind::kFile, "cannot read " + path + ": " + std::strerror(errno));
  }
}

// Throws for a folder, which has no text, and for a device without an end, such as /dev/zero. /dev/null has
// an end.
void refuse_endless(int fd, const std::string& path) {
  struct stat info {};
  struct stat null {};
  if (::fstat(fd, &info) != 0)
    throw Error(ErrorKind::kFile, "cannot read " + path + ": " + std::strerror(errno));
  const bool is_null = ::stat("/dev/null", &null) == 0 && null.st_rdev == info.st_rdev;
  if (S_ISDIR(info.st_mode) || S_ISBLK(info.st_mode) ||
      (S_ISCHR(info.st_mode) && !is_null && ::isatty(fd) == 0))
    throw Error(ErrorKind::kFile, "cannot read " + path + ": expected a file, a pipe or a terminal, found " +
                                      (S_ISDIR(info.st_mode) ? "a folder" : "a device"));
  if (S_ISREG(info.st_mode) && static_cast<uint64_t>(info.st_size) > kMaxBytes)
    throw Error(ErrorKind::kFile, "cannot read " + path + ": expected at most 256 MiB, found " +
                                      std::to_string(info.st_size) + " bytes");
}

}  // namespace

std::string read_bytes(const std::string& path) {
  const bool is_stdin = path == "-";
  const std::string name = is_stdin ? "standard input" : path;
  const FileDescriptor file = is_stdin ? FileDescriptor(-1) : open_input(path);
  const int fd = is_stdin ? STDIN_FILENO : file.get();
  refuse_endless(fd, name);
  return read_to_end(fd, name, kMaxBytes, throw_if_interrupted);
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
