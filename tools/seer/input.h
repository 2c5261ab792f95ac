// Prompts: text or token ids from an option, a file or stdin.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/seer/args.h"

namespace seer::cli {

// Returns the whole file, byte for byte; "-" is stdin. A pipe and a terminal are read to their end. Throws
// Error{kFile} for a folder, a device, more than 256 MiB or a read that fails, and Error{kCancelled} after a
// Ctrl-C.
std::string read_bytes(const std::string& path);

// Parses ids separated by white space. Throws Error{kUsage} that names `source` and the first word that is
// not an id.
std::vector<int32_t> parse_ids(const std::string& text, const std::string& source);
// Throws Error{kUsage} that names the first id outside [0, n_vocab).
void check_ids(const std::vector<int32_t>& ids, int64_t n_vocab, const std::string& source);
std::string join_ids(const std::vector<int32_t>& ids);  // separated by one space

struct PromptOptions {
  std::optional<std::string> text;         // -p
  std::optional<std::string> file;         // -f
  std::optional<std::string> tokens_file;  // --tokens-file

  void add_to(Args& args, const std::string& what = "the prompt");
  void add_tokens_file_to(Args& args);
};

struct Prompt {
  std::string source;  // the name in messages: "-p", a file's name, "standard input"
  std::string text;
  std::optional<std::vector<int32_t>> ids;  // if set, there is no text
};

// Reads the prompt that was asked for: -p, -f or --tokens-file, else stdin unless that is a terminal. Throws
// Error{kUsage} if there is none, if there is more than one, or (unless may_be_empty) if it is empty.
Prompt read_prompt(const PromptOptions& options, bool may_be_empty = false);

}  // namespace seer::cli
