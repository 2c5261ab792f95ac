// Prompts: text or token ids from an option, a file or stdin.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/seer/args.h"

namespace seer::cli {

// The whole file or pipe, byte for byte; "-" is stdin. Throws Error{kFile} if it cannot be read, has more
// than 256 MiB, or is a device that never ends; Error{kCancelled} for a Ctrl-C meanwhile.
std::string read_bytes(const std::string& path);

// Ids separated by white space. Throws Error{kUsage} that names `source` and the first thing which is not an
// id.
std::vector<int32_t> parse_ids(const std::string& text, const std::string& source);
// Throws Error{kUsage} for the first id outside [0, n_vocab).
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
  std::string source;  // for messages: "-p", a file's name, "standard input"
  std::string text;
  std::optional<std::vector<int32_t>> ids;  // instead of text
};

// Reads what was asked for: -p, -f or --tokens-file, else stdin where it is not a terminal. Throws
// Error{kUsage} for none, more than one, or (unless may_be_empty) an empty one.
Prompt read_prompt(const PromptOptions& options, bool may_be_empty = false);

}  // namespace seer::cli
